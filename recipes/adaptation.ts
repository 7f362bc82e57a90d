/** What is planned when a model that exists is taught documents by LoRA: little enough that it keeps what it knew. */
import type {
  Machine,
  ModelShape,
  PhaseTime,
  PretrainRecipe,
  ReadingRecipe,
  Reason,
} from '../config/recipe.ts';
import { mostReplayed, replayReason, type PlannedParent, type Replay } from './continuation.ts';
import { hardnessReason } from './hardness.ts';
import { expectedOfBase, mostReadable, type ReadText } from './loss.ts';
import { mixtureReasons } from './mixture.ts';
import { countParameters, trainingFlopsPerToken } from './shapes.ts';
import { availableBytes, doesNotFit, gigabytes, trainingBytes } from './memory.ts';
import { onOneHost } from './pretraining.ts';
import {
  besideMs,
  evaluationMs,
  modelMs,
  phaseTime,
  startMs,
  timeReason,
  totalMs,
} from './phase-time.ts';
import { plateauEverySteps } from './plateau.ts';
import { bestPrecision, trainingSpeed } from './speed.ts';
import { checkpointsReason, lostIfKilledMs, saveEvery } from './step.ts';
import { tokensReason, type TokenBound } from './tokens.ts';

export interface AdaptationInputs {
  statistics: ReadText;
  /** Tokens that are held out, and scored; left out, none. */
  heldOutTokens?: number | undefined;
  /** Held-out text is scored often enough to end early by it; left out, it is not. */
  stopOnPlateau?: boolean | undefined;
  /** Training time. */
  budgetMs: number;
  machine: Machine;
  seed: number;
  /** The model that is adapted: in words, and its shape. */
  origin: string;
  shape: ModelShape;
  /** 0, then one more for each replan. */
  round: number;
  /** The version that is gone on from, and its older documents at a share of their own; left out, the corpus is one stream. */
  parent?: PlannedParent | null | undefined;
  replay?: Replay | undefined;
  /** Time of a step as measured, against the estimate; left out, 1. */
  pace?: number | undefined;
}

export const loraRank = 16;
const peakRate = 5e-4;
const mergeShare = 0.8;
/** Text of the base's own that it rehearses: enough that no row comes again before the next epoch of a small folder. */
const rehearsal = { numRows: 48, rowLength: 320, rowsAStep: 1, weight: 1 };
/** Tokens of a row, the first that there is room for. */
const rowLengths = [512, 256, 128];
const batchSize = 4;
/** Beyond it, held-out text gains little and what is general loses more. */
const maxEpochs = 3;
/** A frozen weight needs no gradient of its own: two products of three (forward, and back through it) are left. */
const frozenShare = 2 / 3;
/** Held-out text is scored on the way too where that takes no more of the time of the steps. */
const scoringShare = 0.1;
/** Where the budget affords them: fewer steps hardly leave the warm-up. */
const usefulSteps = 10;
/** A step beyond its arithmetic: adapters are many small products. */
export const adapterStepOverheadMs = 300;

/** What a token costs where only adapters learn, in rows of that length. */
export function msPerTrainedToken(
  machine: Machine,
  shape: ModelShape,
  contextLength: number,
): number {
  const flops = trainingFlopsPerToken({ ...shape, contextLength }) * frozenShare;
  return (flops / trainingSpeed(machine, shape.hiddenSize)) * 1000;
}

/** What every phase has that trains adapters, by its steps and what one of them takes. */
export function adapterPhase(
  { machine, seed }: Pick<AdaptationInputs, 'machine' | 'seed'>,
  { numSteps, stepMs, mergeShare }: { numSteps: number; stepMs: number; mergeShare: number },
) {
  return {
    ...onOneHost(machine, seed),
    numSteps,
    warmupSteps: Math.min(10, Math.ceil(numSteps / 10)),
    decaySteps: Math.floor(numSteps * 0.7),
    saveEverySteps: saveEvery(stepMs, numSteps),
    lora: adapters(mergeShare),
  };
}

/** Those of every phase, of which so much is merged at the end. */
export function adapters(share: number) {
  return { rank: loraRank, alpha: 2 * loraRank, mergeShare: share };
}

/** The estimate for a step of adapting, in milliseconds. */
export function adaptationStepMs(
  machine: Machine,
  shape: ModelShape,
  recipe: Pick<PretrainRecipe, 'batchSize' | 'contextLength' | 'rehearsal'>,
): number {
  const { batchSize, contextLength: length, rehearsal: rows } = recipe;
  // A rehearsed row is read by the base too, which is half as much again.
  const rehearsed =
    rows === undefined ? 0 : rows.rowsAStep * Math.min(rows.rowLength, length) * 1.5;
  const msPerToken = msPerTrainedToken(machine, shape, length);
  return (batchSize * length + rehearsed) * msPerToken + adapterStepOverheadMs;
}

/** As long as there is room for one row; the shortest where there is for none. */
function rowLengthFor(machine: Machine, shape: ModelShape): number {
  const lora = { rank: loraRank, alpha: 2 * loraRank, mergeShare };
  const lengths = rowLengths.map((length) => Math.min(length, shape.contextLength));
  const load = { phase: 'pretrain', precision: bestPrecision(machine), lora, shape } as const;
  const available = availableBytes(machine);
  const fitting = lengths.find(
    (length) => trainingBytes({ ...load, contextLength: length }, 1) <= available,
  );
  return fitting ?? lengths.at(-1)!;
}

/** Throws `DoesNotFit` where not even the shortest row of a base can be trained on. */
export function refuseTooLarge(
  machine: Machine,
  { title, shape }: { title: string; shape: ModelShape },
): void {
  const load = {
    phase: 'pretrain',
    precision: bestPrecision(machine),
    contextLength: rowLengthFor(machine, shape),
    lora: { rank: loraRank, alpha: 2 * loraRank, mergeShare },
    shape,
  } as const;
  if (trainingBytes(load, 1) > availableBytes(machine)) {
    throw doesNotFit(load, machine, `adapting ${title}`);
  }
}

/** A later round, when a gate on the held-out text was missed, reads the documents once more. */
export function planAdaptation(inputs: AdaptationInputs): ReadingRecipe {
  const { statistics, budgetMs, machine, shape, round, heldOutTokens = 0, pace = 1 } = inputs;
  const length = rowLengthFor(machine, shape);
  const tokensPerStep = batchSize * length;
  const usual = { batchSize, contextLength: length, rehearsal };
  const stepMs = adaptationStepMs(machine, shape, usual) * pace;
  const scored = { contextLength: length, heldOutTokens };
  const scoringMs = evaluationMs(machine, shape, scored) * pace;
  const reading = { phase: 'pretrain', lora: adapters(mergeShare) } as const;
  // As elsewhere, a later round trains half as long again: the same recipe would give the same model.
  const trainMs = Math.max(0, budgetMs - besideMs(shape, reading) - 2 * scoringMs) * 1.5 ** round;
  const epochs = maxEpochs + round;
  const readable =
    inputs.replay === undefined
      ? mostReadable(statistics, epochs)
      : mostReplayed(inputs.replay, statistics.numTokens, epochs);
  const readSteps = Math.floor(readable / tokensPerStep);
  const most = Math.max(usefulSteps, readSteps);
  const stopOnPlateau = inputs.stopOnPlateau === true;
  const cost = { stepMs, scoringMs, most, stopOnPlateau };
  const { numSteps, evalEverySteps } = stepsWithin(trainMs, cost);
  const bound = numSteps === most ? (most > readSteps ? 'least' : 'epochs') : 'budget';
  const recipe: PretrainRecipe = {
    phase: 'pretrain',
    ...adapterPhase(inputs, { numSteps, stepMs, mergeShare }),
    batchSize,
    contextLength: length,
    optimizer: 'adamw',
    learningRate: peakRate,
    adamLearningRate: peakRate,
    evalEverySteps,
    rehearsal: { ...rehearsal, rowLength: Math.min(rehearsal.rowLength, length) },
    ...(inputs.replay && { replay: { share: inputs.replay.share } }),
  };
  const time = [phaseTime(recipe, shape, { stepMs, scoringMs })];
  const trainingMs = totalMs(time);
  const endMs = 2 * scoringMs + modelMs(shape, recipe);
  const lostMs = lostIfKilledMs(recipe, { stepMs, startMs: startMs(shape, recipe), endMs });
  const bytesPerToken = statistics.bytes / Math.max(1, statistics.numTokens);
  const trained = numSteps * tokensPerStep;
  const bpb = expectedOfBase(countParameters(shape), trained, statistics);
  return {
    schemaVersion: 1,
    round,
    machine,
    model: shape,
    numParameters: countParameters(shape),
    pretrain: recipe,
    sft: null,
    dpo: null,
    estimate: {
      trainingMs,
      trainingMsLow: Math.round(trainingMs * 0.75),
      trainingMsHigh: Math.round(trainingMs * 1.6),
      time,
      usd: 0,
      valBpbLow: rounded(bpb * (1 - uncertainty)),
      valBpbHigh: rounded(bpb * (1 + uncertainty)),
      finalLoss: rounded(bpb * Math.LN2 * bytesPerToken),
      lostIfKilledMs: lostMs,
    },
    reasons: explain(inputs, recipe, { bpb, bound, time, lostMs }),
  };
}

/** As many steps as the time affords with the scoring that falls between them, and how often that is. */
function stepsWithin(
  ms: number,
  cost: { stepMs: number; scoringMs: number; most: number; stopOnPlateau: boolean },
): { numSteps: number; evalEverySteps: number } {
  const { stepMs, scoringMs, most, stopOnPlateau } = cost;
  const everyOf = (numSteps: number) => {
    if (stopOnPlateau) return plateauEverySteps(numSteps);
    const isCheap = scoringMs <= scoringShare * numSteps * stepMs;
    return isCheap ? Math.max(10, Math.ceil(numSteps / 2)) : numSteps;
  };
  let numSteps = Math.max(1, Math.min(most, Math.floor(ms / stepMs)));
  for (;;) {
    const evalEverySteps = everyOf(numSteps);
    const onTheWay = Math.floor((numSteps - 1) / evalEverySteps);
    const overMs = numSteps * stepMs + onTheWay * scoringMs - ms;
    if (overMs <= 0 || numSteps === 1) return { numSteps, evalEverySteps };
    numSteps -= 1;
  }
}

/** Of the expected loss: what a base has read before, nobody knows here. */
const uncertainty = 0.25;

function rounded(value: number): number {
  return Number(value.toFixed(3));
}

function explain(
  { origin, statistics, shape, machine, parent, replay, round }: AdaptationInputs,
  recipe: PretrainRecipe,
  foretold: { bpb: number; bound: TokenBound; time: PhaseTime[]; lostMs: number },
): Reason[] {
  const { bpb, bound, time, lostMs } = foretold;
  const usual = Math.min(rowLengths[0]!, shape.contextLength);
  const numTokens = recipe.numSteps * recipe.batchSize * recipe.contextLength;
  return [
    {
      choice: 'start',
      value: origin,
      reason: 'it has read far more than these documents: only what they add is learnt',
      source: 'startFrom',
    },
    {
      choice: 'method',
      value: `LoRA of rank ${loraRank} on every projection`,
      reason: 'the base stays frozen; adapters learn less than full training, and forget less',
      source: 'Hu et al. 2021; Biderman et al. 2024',
    },
    {
      choice: 'rate',
      value: `AdamW ${recipe.learningRate}, ${recipe.warmupSteps} steps up, ${recipe.decaySteps} down`,
      reason: 'of the rates tried, the one that gained most on held-out text for what it forgot',
      source: 'measured in docs/log.md',
    },
    tokensReason(bound === 'budget' && recipe.numSteps < usefulSteps ? 'few' : bound, recipe, {
      epochTokens: statistics.numTokens,
      maxEpochs: maxEpochs + round,
      because: 'what is read more often is learnt by heart',
      source: 'measured in docs/log.md',
    }),
    timeReason(time, shape),
    {
      choice: 'rehearsal',
      value: `${rehearsal.rowsAStep} row of ${rehearsal.rowLength} tokens a step`,
      reason:
        'on text that the base wrote itself, it must go on foretelling what it did: what it knew is kept without having its data',
      source: 'Robins 1995; Huang et al. 2024; measured in docs/log.md',
    },
    ...(statistics.learningCurve ? [hardnessReason(statistics, numTokens, bpb)] : []),
    ...mixtureReasons(statistics),
    ...(replay && parent ? [replayReason(parent, replay)] : []),
    {
      choice: 'merge',
      value: `${Math.round(mergeShare * 100)} % of what the adapters learnt`,
      reason: 'between base and adapted model most of the gain is kept, and less is forgotten',
      source: 'Wortsman et al. 2022; measured in docs/log.md',
    },
    {
      choice: 'precision',
      value: recipe.precision,
      reason:
        recipe.precision === 'bf16'
          ? 'the machine multiplies bf16 faster; adapters and merge are fp32'
          : 'the machine has no fast bf16',
      source: 'measured in docs/log.md',
    },
    checkpointsReason(recipe, lostMs),
    ...(recipe.contextLength === usual
      ? []
      : [
          {
            choice: 'row length',
            value: `${recipe.contextLength} tokens`,
            reason: `a single row of ${usual} does not fit into the ${gigabytes(availableBytes(machine))} that this machine has for it`,
            source: 'memory by shape, recipes/memory.ts',
          },
        ]),
  ];
}
