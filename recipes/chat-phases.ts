/**
 * The phases that learn from chats: what each takes of batch, rate and reading, what a step costs, and
 * its recipe; for a small model whose weights all move, and for adapters around a frozen one.
 */
import type { DpoRecipe, Machine, ModelShape, OrpoRecipe, SftRecipe } from '../config/recipe.ts';
import { adapterPhase, adapterStepOverheadMs, msPerTrainedToken } from './adaptation.ts';
import type { Packing } from './packing.ts';
import { onOneHost, warmup } from './pretraining.ts';
import { trainingFlopsPerToken } from './shapes.ts';
import { trainingSpeed } from './speed.ts';
import { saveEvery } from './step.ts';

export type ChatPhase = 'sft' | 'dpo' | 'orpo';

interface Way {
  /** Chats, or pairs of answers. */
  batch: number;
  epochs: number;
  rate: number;
  /** Of the recipe; of the loss of DPO, or the weight of the odds ratio. */
  beta?: number;
  /** Rows that a step reads of each chat or pair. */
  rows: 1 | 2;
  /** Against SFT on as many rows: a reference reads them too. */
  work: number;
  overheadMs: number;
}

/** What a step costs beyond its arithmetic where all weights move: TRL's; measured. */
const wholeOverheadMs = 40;
/** Tokens of a question with its answer, template included, on average. */
export const usualChatTokens = 28;

/**
 * DPO: a light touch, for more of it, or a higher rate, cost answers that SFT had learned (docs/log.md).
 * ORPO learns the answers too, so it reads as often as SFT, at two fifths of its rate and with the weight of
 * its authors (Hong et al. 2024).
 */
export const waysOfAllWeights = {
  sft: { batch: 64, epochs: 2.4, rate: 2e-3, rows: 1, work: 1, overheadMs: wholeOverheadMs },
  dpo: {
    batch: 32,
    epochs: 0.2,
    rate: 1e-5,
    beta: 0.1,
    rows: 2,
    work: 1,
    overheadMs: wholeOverheadMs,
  },
  orpo: {
    batch: 32,
    epochs: 2.4,
    rate: 8e-4,
    beta: 0.1,
    rows: 2,
    work: 1,
    overheadMs: wholeOverheadMs,
  },
} as const satisfies Record<ChatPhase, Way>;

/** The rate of SFT is that of the adapters that learn documents. */
export const waysOfAdapters = {
  sft: { batch: 16, epochs: 4, rate: 5e-4, rows: 1, work: 1, overheadMs: adapterStepOverheadMs },
  dpo: {
    batch: 8,
    epochs: 0.2,
    rate: 5e-5,
    beta: 0.1,
    rows: 2,
    work: 1.5,
    overheadMs: 2 * adapterStepOverheadMs,
  },
  orpo: {
    batch: 8,
    epochs: 4,
    rate: 2e-4,
    beta: 0.1,
    rows: 2,
    work: 1,
    overheadMs: adapterStepOverheadMs,
  },
} as const satisfies Record<ChatPhase, Way>;

/** After SFT the answers are known: ORPO reads the pairs once in part, at a tenth of the rate of SFT. */
const orpoAfterSft = { epochs: 0.5, rate: 0.1 };

/** How a phase is trained, after SFT or without. */
function wayOf(phase: ChatPhase, { adapters, afterSft }: Setting): Way {
  const ways = adapters ? waysOfAdapters : waysOfAllWeights;
  if (phase !== 'orpo' || !afterSft) return ways[phase];
  return { ...ways.orpo, epochs: orpoAfterSft.epochs, rate: ways.sft.rate * orpoAfterSft.rate };
}

export interface Setting {
  adapters: boolean;
  afterSft: boolean;
}

export interface ChatPhaseInputs extends Setting {
  machine: Machine;
  seed: number;
  shape: ModelShape;
  /** Of a row, and what of it is filled on average. */
  contextLength: number;
  rowTokens: number;
  /** Chats, or pairs of answers. */
  numExamples: number;
  /** Training time, the start of the trainer left out. */
  timeMs: number;
  /** Chats share rows while SFT learns from them; left out, each has its own. */
  packing?: Packing | undefined;
  /** Of a later round: so much longer, at so much of the rate. */
  turn: { time: number; rate: number };
  /** Time of a step as measured, against the estimate; left out, 1. */
  pace?: number | undefined;
}

/** What a step of a phase takes. */
export function chatStepMs(
  phase: ChatPhase,
  inputs: Pick<
    ChatPhaseInputs,
    keyof Setting | 'machine' | 'shape' | 'contextLength' | 'rowTokens' | 'packing' | 'pace'
  >,
): number {
  const { machine, shape, contextLength, adapters, pace = 1 } = inputs;
  const rowTokens = (phase === 'sft' ? inputs.packing?.rowTokens : undefined) ?? inputs.rowTokens;
  const { batch, rows, work, overheadMs } = wayOf(phase, inputs);
  const msPerToken = adapters
    ? msPerTrainedToken(machine, shape, contextLength)
    : (trainingFlopsPerToken(shape) / trainingSpeed(machine, shape.hiddenSize)) * 1000;
  return (rows * batch * rowTokens * msPerToken * work + overheadMs) * pace;
}

/** The recipe of a phase, with so many steps as its examples want and its time affords. */
export function planChatPhase(phase: 'sft', inputs: ChatPhaseInputs): SftRecipe;
export function planChatPhase(phase: 'dpo', inputs: ChatPhaseInputs): DpoRecipe;
export function planChatPhase(phase: 'orpo', inputs: ChatPhaseInputs): OrpoRecipe;
export function planChatPhase(
  phase: ChatPhase,
  inputs: ChatPhaseInputs,
): SftRecipe | DpoRecipe | OrpoRecipe {
  const { machine, seed, contextLength, numExamples, timeMs, turn, adapters } = inputs;
  const { batch, epochs, rate, beta = 0 } = wayOf(phase, inputs);
  const stepMs = chatStepMs(phase, inputs);
  const affordable = Math.min(timeMs / stepMs, (numExamples * epochs) / batch);
  const numSteps = Math.max(10, Math.floor(turn.time * affordable));
  const warmupSteps = warmup(numSteps);
  const common = {
    ...(adapters
      ? adapterPhase({ machine, seed }, { numSteps, stepMs, mergeShare: 1 })
      : {
          ...onOneHost(machine, seed),
          numSteps,
          warmupSteps,
          decaySteps: Math.min(Math.floor((numSteps * 3) / 4), numSteps - warmupSteps),
          saveEverySteps: saveEvery(stepMs, numSteps),
        }),
    contextLength,
    batchSize: batch,
    learningRate: Number((rate * turn.rate).toPrecision(6)),
  };
  if (phase !== 'sft') return { phase, ...common, beta };
  return { phase, ...common, ...(inputs.packing && { packing: true }) };
}
