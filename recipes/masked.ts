/**
 * The plan of goal embeddings: a ModernBERT that is pretrained on hidden words, as large as the budget can train and
 * the corpus can teach. Pure, as the planner of causal models.
 */
import type { MaskedShape, PretrainRecipe, ReadingRecipe, Reason } from '../config/recipe.ts';
import { distinctTokens, expectedMaskedLoss, mostReadable } from './loss.ts';
import { mixtureReasons } from './mixture.ts';
import { maskedLadder, maskRate } from './masked-shapes.ts';
import {
  ending,
  fitsAlone,
  mostParametersPerToken,
  round,
  within,
  type PlanInputs,
} from './plan.ts';
import { vocabularyReason } from './plan-reasons.ts';
import { onOneHost, courseReasons, pretrainingStepMs, warmup } from './pretraining.ts';
import { lostIfKilledMs, saveEvery } from './step.ts';
import { boundTokens, tokensReason, type TokenBound } from './tokens.ts';
import { ownPhaseTime, totalMs } from './phase-time.ts';
import { preferenceReasons, preferred } from './preference.ts';
import { countParameters } from './shapes.ts';
import { threadsOf, trainerStartMs } from './speed.ts';

/** How much longer and at which rate a later round trains. */
interface Turn {
  round: number;
  time: number;
  rate: number;
}

/** Each epoch hides other words, so that a text goes on teaching for longer (Devlin et al. 2019 read theirs 40 times). */
const maxEpochs = 40;
/** Tokens a step, in rows as long as the texts that people search for. */
const rowTokens = 512;
const shortRowTokens = 128;
const tokensPerStep = 4096;
const leastSteps = 20;

export function planMasked(inputs: PlanInputs, turn: Turn): ReadingRecipe {
  return within(inputs, (affordable) => ending(affordable, plan(affordable, turn)));
}

function plan(inputs: PlanInputs, turn: Turn): ReadingRecipe {
  const { machine, statistics, seed, vocabSize } = inputs;
  const pace = inputs.pace ?? 1;
  const startMs = trainerStartMs;
  const trainMs = Math.max(inputs.budgetMs * 0.2, inputs.budgetMs - startMs) * turn.time;
  const long = statistics.numTokens >= 4 * rowTokens;
  const contextLength = long ? rowTokens : shortRowTokens;
  const batchSize = tokensPerStep / contextLength;
  const shapes = maskedLadder(vocabSize, contextLength).filter(
    (shape, rung) =>
      rung === 0 ||
      (fitsAlone(machine, shape, contextLength) &&
        countParameters(shape) <= mostParametersPerToken * distinctTokens(statistics)),
  );
  const bytesPerToken = statistics.bytes / Math.max(1, statistics.numTokens);
  const candidates = shapes.map((shape) => {
    const stepMs = pretrainingStepMs(machine, shape, { batchSize, contextLength }) * pace;
    const affordable = (trainMs / stepMs) * tokensPerStep;
    const epochs = mostReadable(statistics, maxEpochs);
    const { numTokens, bound } = boundTokens({ budget: affordable, epochs });
    const numParameters = countParameters(shape);
    const loss = expectedMaskedLoss(numParameters, numTokens, statistics, shape.vocabSize);
    const bpb = loss / Math.LN2 / bytesPerToken;
    return { shape, stepMs, numTokens, bound, numParameters, loss, bpb };
  });
  const prefer = inputs.prefer ?? 'quality';
  const chosen = preferred(candidates, prefer);
  const { shape, numParameters, stepMs, bpb } = chosen;
  const affordable = Math.floor(chosen.numTokens / tokensPerStep);
  const numSteps = Math.max(leastSteps, affordable);
  const pretrain: PretrainRecipe = {
    phase: 'pretrain',
    ...onOneHost(machine, seed),
    numSteps,
    batchSize,
    contextLength,
    optimizer: 'muon',
    learningRate: round(0.007 * turn.rate, 5),
    adamLearningRate: round(0.002 * turn.rate, 5),
    warmupSteps: warmup(numSteps),
    decaySteps: Math.floor((numSteps * 2) / 3),
    saveEverySteps: saveEvery(stepMs, numSteps),
    evalEverySteps: Math.max(10, Math.ceil(numSteps / 4)),
    mask: { rate: maskRate, replaced: 0.8, redrawn: 0.1 },
  };
  const time = [ownPhaseTime(pretrain, stepMs)];
  const trainingMs = totalMs(time);
  const lostMs = lostIfKilledMs(pretrain, { stepMs, startMs });
  return {
    schemaVersion: 1,
    round: turn.round,
    machine,
    model: shape,
    numParameters,
    pretrain,
    sft: null,
    dpo: null,
    estimate: {
      trainingMs,
      trainingMsLow: Math.round(trainingMs * 0.75),
      trainingMsHigh: Math.round(trainingMs * 1.4),
      time,
      usd: 0,
      valBpbLow: round(bpb * 0.9),
      valBpbHigh: round(bpb * 1.1),
      finalLoss: round(chosen.loss),
      lostIfKilledMs: lostMs,
    },
    reasons: [
      ...explain(inputs, {
        shape,
        pretrain,
        loss: chosen.loss,
        candidates: candidates.length,
        bound: numSteps > affordable ? 'least' : chosen.bound,
        lostMs,
      }),
      ...preferenceReasons(prefer, chosen, candidates),
    ],
  };
}

function explain(
  { statistics, budgetMs, machine, vocabSize, tokenizer, prefer }: PlanInputs,
  chosen: {
    shape: MaskedShape;
    pretrain: PretrainRecipe;
    loss: number;
    candidates: number;
    bound: TokenBound;
    lostMs: number;
  },
): Reason[] {
  const { shape, pretrain, loss, candidates, bound, lostMs } = chosen;
  const millions = (count: number) => `${(count / 1e6).toFixed(1)}M`;
  const first = prefer === undefined || prefer === 'quality' ? 'lowest expected loss' : prefer;
  const vocabulary = vocabularyReason(`${vocabSize} and 2`, statistics.bytes, tokenizer);
  return [
    {
      choice: 'architecture',
      value: 'ModernBERT',
      reason:
        'goal embeddings: an encoder reads a text from both sides, so that its words place it among others',
      source: 'Warner et al. 2024, arXiv 2412.13663',
    },
    {
      choice: 'size',
      value: `${millions(countParameters(shape))} parameters, ${shape.numLayers} layers of ${shape.hiddenSize}`,
      reason: `${first} of ${candidates} ${candidates === 1 ? 'shape' : 'shapes'} for ${Math.round(budgetMs / 1000)} s on ${threadsOf(machine)} ${machine.instructionSet} cores: ${loss.toFixed(2)} nats a hidden token; deep and narrow, with a feed-forward of one and a half widths`,
      source: 'Warner et al. 2024; constants fitted in docs/log.md',
    },
    {
      choice: 'attention',
      value: `every ${shape.globalEvery}rd layer to all tokens, the others to ${shape.localWindow}`,
      reason: 'most of what a word means stands near it; every third layer carries the rest',
      source: 'Warner et al. 2024',
    },
    {
      choice: 'hidden words',
      value: `${100 * maskRate} %`,
      reason:
        'twice as many as BERT hid: more to learn from each text, and enough left to foretell it by; of ten, the mask stands for eight, another word for one, and one stays, for a text that is embedded has no mask',
      source: 'Wettig et al. 2023, arXiv 2202.08005; Warner et al. 2024; Devlin et al. 2019',
    },
    {
      ...vocabulary,
      reason: `${vocabulary.reason}; the mask and the padding follow it, so that the corpus serves causal models as well`,
    },
    ...mixtureReasons(statistics),
    tokensReason(bound, pretrain, {
      epochTokens: statistics.numTokens,
      maxEpochs,
      because: 'each time other words are hidden, yet it teaches less than the time before',
      source: 'Devlin et al. 2019; Muennighoff et al. 2023',
    }),
    {
      choice: 'rows',
      value: `${pretrain.contextLength} tokens`,
      reason: 'as long as the passages that people search for; what is longer is refused',
      source: 'Wang et al. 2022 (E5)',
    },
    {
      choice: 'optimizer',
      value: `Muon ${pretrain.learningRate}, AdamW ${pretrain.adamLearningRate}`,
      reason:
        'Muon for matrices reaches a loss in fewer tokens than AdamW; embeddings, norms and head stay with AdamW; at a third of the rates of a causal model, for at those it learnt no more than how often each word comes',
      source: 'Jordan et al. 2024; measured in docs/log.md',
    },
    ...courseReasons(pretrain, lostMs),
  ];
}
