/** The reasons of a plan that trains all weights, in words, with the source of each rule. */
import type {
  DpoRecipe,
  Family,
  MeasuredModel,
  PretrainRecipe,
  Reason,
  SftRecipe,
} from '../config/recipe.ts';
import type { TokenizerWish } from '../config/tokenizer.ts';
import { continuationReasons } from './continuation.ts';
import { hardnessReason } from './hardness.ts';
import { limitReasons } from './limits.ts';
import { mixtureReasons } from './mixture.ts';
import type { PlanInputs } from './plan.ts';
import { courseReasons, epochsBecause, usualBatch } from './pretraining.ts';
import { tokensReason, type TokenBound } from './tokens.ts';
import { threadsOf } from './speed.ts';

function givenReason({ architecture, numLayers, hiddenSize }: MeasuredModel): Reason {
  return {
    choice: 'architecture',
    value: architecture,
    reason: `the configuration that was given: ${numLayers} layers of ${hiddenSize}, whose parameters were counted without weights`,
    source: 'model.config of the pipeline file',
  };
}

const familyReasons: Record<Family, Reason> = {
  llama: {
    choice: 'architecture',
    value: 'Llama',
    reason:
      'as the pipeline file asks: rotary positions, a gated feed-forward, norms before each part',
    source: 'Touvron et al. 2023',
  },
  qwen2: {
    choice: 'architecture',
    value: 'Qwen2',
    reason: 'as the pipeline file asks: a Llama with biases on query, key and value',
    source: 'Yang et al. 2024',
  },
  qwen3: {
    choice: 'architecture',
    value: 'Qwen3',
    reason: 'as the pipeline file asks: a Llama whose queries and keys are normed, head by head',
    source: 'Yang et al. 2025',
  },
};

/** A reason for each choice of a plan that trains all weights. */
export function explain(
  {
    statistics,
    budgetMs,
    machine,
    vocabSize,
    tokenizer,
    family,
    given,
    goal,
    parent,
    prefer,
    limits,
    replay,
  }: PlanInputs,
  chosen: {
    pretrain: PretrainRecipe;
    sft: SftRecipe | null;
    dpo: DpoRecipe | null;
    numParameters: number;
    /** Tokens that its weights have seen at the end. */
    seen: number;
    bpb: number;
    candidates: number;
    /** What bound the tokens, and how often the text may be read. */
    bound: TokenBound;
    maxEpochs: number;
    /** By a kill, at most. */
    lostMs: number;
  },
): Reason[] {
  const { pretrain, sft, dpo, numParameters, seen, bpb, maxEpochs } = chosen;
  const usual = pretrain.batchSize * pretrain.contextLength === usualBatch;
  const millions = (count: number) => `${(count / 1e6).toFixed(1)}M`;
  const size = `${millions(numParameters)} parameters`;
  const beginning: Reason[] = [
    ...(given === undefined ? [] : [givenReason(given)]),
    ...(family === undefined ? [] : [familyReasons[family]]),
    {
      choice: 'size',
      value: size,
      reason: `${prefer === undefined || prefer === 'quality' ? 'lowest expected loss' : `first in ${prefer}`} of ${chosen.candidates} ${chosen.candidates === 1 ? 'shape' : 'shapes'} for ${Math.round(budgetMs / 1000)} s on ${threadsOf(machine)} ${machine.instructionSet} cores: ${bpb.toFixed(2)} bits a byte`,
      source: 'Hoffmann et al. 2022, constants fitted in docs/log.md',
    },
    vocabularyReason(String(vocabSize), statistics.bytes, tokenizer),
  ];
  const reasons: Reason[] = [
    ...(limits ? limitReasons(limits) : []),
    ...mixtureReasons(statistics),
    ...(parent ? continuationReasons(parent, { size, vocabSize, replay }) : beginning),
    hardnessReason(statistics, seen, bpb),
    tokensReason(chosen.bound, pretrain, {
      epochTokens: statistics.numTokens,
      maxEpochs,
      because: epochsBecause(maxEpochs),
      source: 'Muennighoff et al. 2023; docs/log.md',
    }),
    {
      choice: 'optimizer',
      ...(pretrain.optimizer === 'adamw'
        ? {
            value: `AdamW ${pretrain.learningRate}`,
            reason:
              'the usual one, for an architecture that was given; its rate falls with the width',
            source: 'Brown et al. 2020',
          }
        : {
            value: `Muon ${pretrain.learningRate}, AdamW ${pretrain.adamLearningRate}`,
            reason:
              'Muon for matrices reaches a loss in fewer tokens than AdamW; embeddings and norms stay with AdamW' +
              (usual ? '' : '; the rate of Muon by the square root of the batch'),
            source: `Jordan et al. 2024; ${usual ? '' : 'Malladi et al. 2022; '}measured in docs/log.md`,
          }),
    },
    ...courseReasons(pretrain, chosen.lostMs),
  ];
  if (sft !== null && dpo !== null) {
    reasons.push({
      choice: 'fine-tuning',
      value: `${sft.numSteps} steps of SFT, ${dpo.numSteps} of DPO`,
      reason: `goal ${goal}: answer in chat, then prefer the right answer to a wrong one`,
      source: 'Ouyang et al. 2022; Rafailov et al. 2023',
    });
  }
  return reasons;
}

/** Of a model from scratch: as the text asks, unless the file says it. */
export function vocabularyReason(
  value: string,
  bytes: number,
  wish: TokenizerWish | undefined,
): Reason {
  const choice = 'vocabulary';
  if (wish !== undefined && 'from' in wish) {
    const reason = `that of ${wish.from}, and the special tokens that it lacked`;
    return { choice, value, reason, source: 'the pipeline file' };
  }
  if (wish?.vocabSize !== undefined) {
    const reason = `at most ${wish.vocabSize}, as the pipeline file asks`;
    return { choice, value, reason, source: 'the pipeline file' };
  }
  const reason = `grows with the text: ${(bytes / 1e6).toFixed(1)}MB`;
  return { choice, value, reason, source: 'Tao et al. 2024' };
}
