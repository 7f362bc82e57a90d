/** What is planned when a model that was adapted is taught to answer: SFT, then DPO, by adapters that are merged whole. */
import type {
  DpoRecipe,
  Machine,
  ModelShape,
  PhaseTime,
  Reason,
  SftRecipe,
} from '../config/recipe.ts';
import { adapterPhase, adapters, loraRank } from './adaptation.ts';
import { chatStepMs, waysOfAdapters } from './chat-phases.ts';
import { isWorthPacking, packingOf, packingReasons, type Packing } from './packing.ts';
import { besideMs, modelMs, phaseTime, startMs } from './phase-time.ts';
import { lostIfKilledMs } from './step.ts';

/** How long the chats are, question and answer together, in UTF-8 bytes. */
export interface ChatSizes {
  meanBytes: number;
  longestBytes: number;
  /** Of the longest of a batch, which the rows of the others are filled up to, on average; left out, not counted. */
  paddedBytes?: number;
}

export interface TuningInputs {
  statistics: { numTokens: number; bytes: number };
  /** Training time of both phases. */
  budgetMs: number;
  machine: Machine;
  seed: number;
  shape: ModelShape;
  numChats: number;
  numPreferences: number;
  chats: ChatSizes;
  /** Whether chats share rows; left out, where that saves enough. */
  packing?: boolean | undefined;
  /** Time of a step as measured, against the estimate; left out, 1. */
  pace?: number | undefined;
  /** 0, then one more each time that a gate on answers was missed. */
  round: number;
}

export interface Tuning {
  sft: SftRecipe;
  dpo: DpoRecipe;
  /** Of both phases. */
  time: PhaseTime[];
  lostIfKilledMs: number;
  reasons: Reason[];
}

/** Where nothing is known of the chats yet: questions of a sentence, answers of a few words. */
export const usualChats: ChatSizes = { meanBytes: 80, longestBytes: 160 };

const { sft: sftWay, dpo: dpoWay } = waysOfAdapters;
const sftShare = 0.8;
/** What parts the turns of a chat, in tokens. */
const turnTokens = 12;
/** Rows are filled up to the longest of their batch. */
const padding = 1.2;

/** A later round, when a gate on answers was missed, reads the chats half as long again, at a lower rate. */
export function planTuning(inputs: TuningInputs): Tuning {
  const { statistics, budgetMs, machine, shape, chats, round } = inputs;
  const more = 1.5 ** round;
  const lower = 0.7 ** round;
  const { contextLength, rowTokens, packing } = chatRow({
    statistics,
    shape,
    chats,
    asked: inputs.packing,
  });
  const { pace } = inputs;
  const setting = {
    adapters: true,
    pace,
    afterSft: true,
    machine,
    shape,
    contextLength,
    rowTokens,
    packing,
  };
  const sftStepMs = chatStepMs('sft', setting);
  const dpoStepMs = chatStepMs('dpo', setting);
  const lora = adapters(1);
  const fixedMs = besideMs(shape, { phase: 'sft', lora }) + besideMs(shape, { phase: 'dpo', lora });
  const trainMs = Math.max(budgetMs * 0.2, budgetMs - fixedMs);
  const steps = (share: number, stepMs: number, wanted: number) =>
    Math.max(10, Math.floor(more * Math.min((trainMs * share) / stepMs, wanted)));
  const sftSteps = steps(sftShare, sftStepMs, (inputs.numChats * sftWay.epochs) / sftWay.batch);
  const dpoSteps = steps(
    1 - sftShare,
    dpoStepMs,
    (inputs.numPreferences * dpoWay.epochs) / dpoWay.batch,
  );
  const common = (numSteps: number, stepMs: number) => ({
    ...adapterPhase(inputs, { numSteps, stepMs, mergeShare: 1 }),
    contextLength,
  });
  const sft: SftRecipe = {
    phase: 'sft',
    ...common(sftSteps, sftStepMs),
    batchSize: sftWay.batch,
    learningRate: sftWay.rate * lower,
    ...(packing && { packing: true }),
  };
  const dpo: DpoRecipe = {
    phase: 'dpo',
    ...common(dpoSteps, dpoStepMs),
    batchSize: dpoWay.batch,
    learningRate: dpoWay.rate * lower,
    beta: dpoWay.beta,
  };
  const lost = (phase: SftRecipe | DpoRecipe, stepMs: number) =>
    lostIfKilledMs(phase, {
      stepMs,
      startMs: startMs(shape, phase),
      endMs: modelMs(shape, phase),
    });
  return {
    sft,
    dpo,
    time: [
      phaseTime(sft, shape, { stepMs: sftStepMs }),
      phaseTime(dpo, shape, { stepMs: dpoStepMs }),
    ],
    lostIfKilledMs: Math.max(lost(sft, sftStepMs), lost(dpo, dpoStepMs)),
    reasons: [...explain(inputs, sft, dpo), ...packingReasons(contextLength, packing)],
  };
}

/** The length of a row that holds every chat, what of it is filled on average, and whether chats share it. */
export function chatRow({
  statistics,
  shape,
  chats,
  asked,
}: Pick<TuningInputs, 'statistics' | 'shape' | 'chats'> & { asked: boolean | undefined }): {
  contextLength: number;
  rowTokens: number;
  packing: Packing | undefined;
} {
  const contextLength = Math.min(shape.contextLength, rowFor(chats.longestBytes));
  const bytesPerToken = statistics.bytes / Math.max(1, statistics.numTokens);
  const tokensOf = (bytes: number) =>
    Math.min(contextLength, bytes / Math.max(1, bytesPerToken) + turnTokens);
  const meanTokens = tokensOf(chats.meanBytes);
  const rowTokens = Math.min(contextLength, meanTokens * padding);
  const unknown = { rowTokens, saved: null };
  if (asked === false) return { contextLength, rowTokens, packing: undefined };
  if (chats.paddedBytes === undefined) {
    return { contextLength, rowTokens, packing: asked ? unknown : undefined };
  }
  const lengths = { meanTokens, rowTokens: tokensOf(chats.paddedBytes) };
  const packing = packingOf(shape, contextLength, lengths);
  const wanted = asked ?? isWorthPacking(shape, packing);
  return { contextLength, rowTokens, packing: wanted ? packing : undefined };
}

/** A row that holds every chat: no tokenizer makes more tokens of a text than it has bytes. */
function rowFor(longestBytes: number): number {
  return Math.max(64, Math.ceil((longestBytes + turnTokens) / 64) * 64);
}

interface Chat {
  messages: readonly { content: string }[];
}

/** The chats of a file of JSON lines that preprocessing wrote. */
export function parseChats(lines: string): Chat[] {
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Chat);
}

/** How long chats are; of none, as long as usual. */
export function chatSizes(chats: readonly Chat[]): ChatSizes {
  if (chats.length === 0) return usualChats;
  let total = 0;
  let question = 0;
  let answer = 0;
  const lengths: number[] = [];
  for (const { messages } of chats) {
    const sizes = messages.map(({ content }) => Buffer.byteLength(content));
    const last = sizes.at(-1) ?? 0;
    const first = sizes.reduce((sum, size) => sum + size, 0) - last;
    total += first + last;
    lengths.push(first + last);
    question = Math.max(question, first);
    answer = Math.max(answer, last);
  }
  // A preference pairs a question with the answer to another one.
  return {
    meanBytes: total / chats.length,
    longestBytes: question + answer,
    paddedBytes: longestOf(sftWay.batch, lengths),
  };
}

/** The longest of so many chats that are drawn at random, on average. */
function longestOf(batch: number, lengths: readonly number[]): number {
  const sorted = lengths.toSorted((a, b) => a - b);
  const atMost = (count: number) => (count / sorted.length) ** batch;
  return sorted.reduce(
    (sum, length, index) => sum + length * (atMost(index + 1) - atMost(index)),
    0,
  );
}

function explain(
  { numChats, numPreferences, chats }: TuningInputs,
  sft: SftRecipe,
  dpo: DpoRecipe,
): Reason[] {
  const epochs = (steps: number, batch: number, rows: number) =>
    ((steps * batch) / Math.max(1, rows)).toFixed(1);
  return [
    {
      choice: 'fine-tuning',
      value: `${sft.numSteps} steps of SFT (${epochs(sft.numSteps, sft.batchSize, numChats)} epochs), ${dpo.numSteps} of DPO (${epochs(dpo.numSteps, dpo.batchSize, numPreferences)})`,
      reason: 'goal assistant: answer in chat, then prefer the right answer to a wrong one',
      source: 'Ouyang et al. 2022; Rafailov et al. 2023',
    },
    {
      choice: 'tuning method',
      value: `LoRA of rank ${loraRank}, merged whole after each phase`,
      reason:
        'few chats move few weights; without its adapters the model is the reference of DPO, so no second one is held',
      source: 'Hu et al. 2021; Rafailov et al. 2023',
    },
    {
      choice: 'tuning rate',
      value: `AdamW ${sft.learningRate}, ${dpo.learningRate} for DPO`,
      reason:
        'SFT: the rate at which these adapters learn documents best; DPO: a tenth of it, for more costs answers that SFT taught',
      source: 'the former measured in docs/log.md; Schulman et al. 2025',
    },
    {
      choice: 'chat length',
      value: `${sft.contextLength} tokens`,
      reason: `holds the longest chat, ${chats.longestBytes} bytes: no end of an answer is cut off`,
      source: 'counted in the data',
    },
  ];
}
