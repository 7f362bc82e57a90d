/**
 * Which steps of a trial became durable, by which trainer, and which were lost and trained again: joined from what
 * all generations told and from the chain of checkpoints. Pure.
 */
import type { Head, World } from '../../config/manifests.ts';
import type { Rollback, TrainerEvent } from '../../config/trainer.ts';
import type { CheckpointPlace, GenerationEvents } from '../../registry/generations.ts';
import { batchesDone } from '../../registry/rollbacks.ts';

export interface TrialRecord {
  batchSize: number;
  /** Of a step; null where rows differ in length. */
  tokensAStep: number | null;
  chain: Head['chain'];
  /** Returns to before a bad loss that are in force. */
  rollbacks: readonly Rollback[];
  /** From which step on the hosts were other than planned: commits behind it were cut; left out: always as planned. */
  worlds?: readonly World[];
  /** Beside the chain; the sentence that says why one cannot be read. */
  places: readonly (CheckpointPlace | string)[];
  generations: readonly GenerationEvents[];
  /** Steps of the finished model; null while there is none. */
  finishedAt: number | null;
  /** Steps with which the budget ended the training: a trainer made the model of each; left out: none. */
  endedAt?: readonly number[];
}

/** Steps from the first to the last, both included. */
export interface StepRange {
  first: number;
  last: number;
}

export type LostSteps = StepRange & { againBy: number };

/** One generation that a trainer told of, from its start to its last word. */
export interface GenerationReport {
  generation: number;
  /** Adopted: the trainer of an earlier one went on under it. */
  began: 'fresh' | 'resumed' | 'adopted';
  from: number;
  /** Last step that was told; of an adopted trainer, those that an earlier generation told do not count. */
  to: number;
  checkpoints: number[];
  /** What it trained in vain, and which generation trained it again. */
  lost: LostSteps[];
}

export interface StepsReport {
  /** Steps that count: of the model, or of the newest checkpoint. */
  durable: number;
  checkpoints: { num: number; agreeing: number };
  generations: GenerationReport[];
  /** Steps that events tell of more than once, and how many of them with the same loss to the last bit. */
  again: { steps: number; sameLoss: number };
  /** Durable steps that no stored event tells of: the checkpoint behind them does. */
  untold: number;
  /** Everything that contradicts the order; none is the proof. */
  faults: string[];
}

type StepEvent = Extract<TrainerEvent, { event: 'step' }>;

/** One process that trained, whichever generations watched it. */
interface Trainer {
  start: number;
  /** By the generation that told of it: its last step. */
  told: Map<number, number>;
  steps: Map<number, StepEvent>;
}

export function joinSteps(record: TrialRecord): StepsReport {
  const { chain, finishedAt } = record;
  const faults: string[] = [];
  const trainers = trainersOf(record.generations);
  const learners = trainers.filter((trainer) => !isEnding(trainer, record));
  const durable = finishedAt ?? chain.at(-1)?.step ?? 0;
  const agreeing = checkPlaces(record, faults);
  checkStarts(trainers, record, faults);
  checkTokens(trainers, record, faults);

  let untold = 0;
  let reached = 0;
  for (const [index, trainer] of learners.entries()) {
    const until = Math.min(durable, ...learners.slice(index + 1).map(({ start }) => start));
    // Before its start, what no trainer told of; and what itself left out.
    untold += Math.max(0, Math.min(trainer.start, until) - reached);
    const last = Math.min(lastOf(trainer), until);
    for (let step = trainer.start + 1; step <= last; step += 1) {
      if (!trainer.steps.has(step)) untold += 1;
    }
    reached = Math.max(reached, last);
  }
  return {
    durable,
    checkpoints: { num: chain.length, agreeing },
    generations: generationsOf(trainers, record),
    again: countAgain(trainers),
    untold: untold + durable - Math.min(durable, reached),
    faults,
  };
}

/** One that only made a model took nothing back, wherever it started. */
function isEnding({ start, steps }: Trainer, { endedAt = [] }: TrialRecord): boolean {
  return steps.size === 0 && endedAt.includes(start);
}

/** A trainer that starts from an earlier step trains again what the ones before it had trained behind that. */
function lostOf(trainer: Trainer, later: readonly Trainer[]): LostSteps[] {
  const lost: LostSteps[] = [];
  let last = lastOf(trainer);
  for (const { start, told } of later) {
    if (start >= last) continue;
    const kept = Math.max(start, trainer.start);
    lost.push({ first: kept + 1, last, againBy: Math.min(...told.keys()) });
    last = kept;
  }
  return lost.filter((range) => range.first <= range.last);
}

function lastOf({ start, steps }: Trainer): number {
  return Math.max(start, ...steps.keys());
}

/** An adopted trainer is told of from its start by each generation: the same start is the same trainer. */
function trainersOf(generations: readonly GenerationEvents[]): Trainer[] {
  const trainers = new Map<string, Trainer>();
  const begin = (key: string, start: number): Trainer => {
    const trainer = trainers.get(key) ?? { start, told: new Map(), steps: new Map() };
    trainers.set(key, trainer);
    return trainer;
  };
  for (const { fence, events } of generations) {
    let trainer: Trainer | null = null;
    for (const event of events) {
      if (event.event === 'start') trainer = begin(JSON.stringify(event), event.step);
      else if (event.event === 'step') {
        // The piece with its start was not stored.
        trainer ??= begin(`generation ${fence}`, event.step - 1);
        if (!trainer.steps.has(event.step)) trainer.steps.set(event.step, event);
      } else continue;
      trainer.told.set(fence, Math.max(trainer.told.get(fence) ?? 0, event.step));
    }
  }
  return [...trainers.values()];
}

/** The cursor is the whole state of the loader: a checkpoint that stands elsewhere goes on with other text. */
function checkPlaces(
  { chain, rollbacks, places, batchSize, tokensAStep }: TrialRecord,
  faults: string[],
): number {
  let agreeing = 0;
  for (const [index, { step }] of chain.entries()) {
    const place = places[index]!;
    const name = `the checkpoint of step ${step}`;
    if (typeof place === 'string') {
      faults.push(`${name} cannot be read: ${place}`);
      continue;
    }
    const expected = batchesDone(rollbacks, step) * batchSize;
    const { cursor = expected, numTokens } = place;
    const before = faults.length;
    if (place.step !== step) faults.push(`${name} says that it is of step ${place.step}`);
    if (cursor !== expected) {
      faults.push(`${name} stands at cursor ${cursor}, expected ${expected}`);
    }
    if (tokensAStep !== null && numTokens !== undefined && numTokens !== step * tokensAStep) {
      faults.push(`${name} counts ${numTokens} tokens, expected ${step * tokensAStep}`);
    }
    if (faults.length === before) agreeing += 1;
  }
  return agreeing;
}

/** Whoever goes on from what is no commit leaves a gap or doubles; step 0 is one as long as nothing else is. */
function checkStarts(
  trainers: readonly Trainer[],
  { chain, rollbacks, worlds = [] }: TrialRecord,
  faults: string[],
): void {
  for (const [place, trainer] of trainers.entries()) {
    const { start, told } = trainer;
    // Behind a return, the commits that were there then are cut from the chain.
    if (rollbacks.some(({ step }) => step < start)) continue;
    // So are those behind the step from which other hosts went on; who goes on from there is held to it.
    const later = new Set(trainers.slice(place + 1).map((other) => other.start));
    if (worlds.some(({ step }) => step < start && later.has(step))) continue;
    const generation = Math.min(...told.keys());
    const durableThen = chain.filter(
      ({ step, fence }) => fence < generation && isOfAnother({ step, fence }, trainer, trainers),
    );
    if (start > 0 && chain.every(({ step }) => step !== start)) {
      faults.push(
        `generation ${generation} went on from step ${start}, which no committed checkpoint holds`,
      );
    }
    if (start === 0 && durableThen.length > 0) {
      faults.push(
        `generation ${generation} began at step 0, though step ${durableThen.at(-1)!.step} was committed`,
      );
    }
  }
}

/**
 * Whether some other trainer made a commit. One that was adopted before anything of it was stored is told of from its
 * start by a later generation, and the commits between are its own.
 */
function isOfAnother(
  { step, fence }: { step: number; fence: number },
  trainer: Trainer,
  trainers: readonly Trainer[],
): boolean {
  const own = JSON.stringify(trainer.steps.get(step));
  return trainers.some(
    (other) =>
      other !== trainer &&
      Math.min(...other.told.keys()) <= fence &&
      other.steps.has(step) &&
      JSON.stringify(other.steps.get(step)) !== own,
  );
}

function checkTokens(
  trainers: readonly Trainer[],
  { tokensAStep }: TrialRecord,
  faults: string[],
): void {
  if (tokensAStep === null) return;
  for (const { steps, told } of trainers) {
    const wrong = [...steps.values()].find(
      ({ step, num_tokens: found }) => found !== step * tokensAStep,
    );
    if (wrong === undefined) continue;
    faults.push(
      `generation ${Math.min(...told.keys())} tells ${wrong.num_tokens} tokens at step ${wrong.step}, expected ${wrong.step * tokensAStep}`,
    );
  }
}

function generationsOf(trainers: readonly Trainer[], record: TrialRecord): GenerationReport[] {
  const { chain } = record;
  const reports: GenerationReport[] = [];
  for (const [place, trainer] of trainers.entries()) {
    const later = trainers.slice(place + 1).filter((one) => !isEnding(one, record));
    const lost = lostOf(trainer, later);
    let from = trainer.start;
    const fences = [...trainer.told].toSorted(([a], [b]) => a - b);
    for (const [index, [generation, last]] of fences.entries()) {
      const to = Math.max(from, last);
      reports.push({
        generation,
        began: index > 0 ? 'adopted' : trainer.start === 0 ? 'fresh' : 'resumed',
        from,
        to,
        checkpoints: chain.filter(({ fence }) => fence === generation).map(({ step }) => step),
        lost: index === fences.length - 1 ? lost : [],
      });
      from = to;
    }
  }
  return reports.toSorted((a, b) => a.generation - b.generation);
}

function countAgain(trainers: readonly Trainer[]): StepsReport['again'] {
  const losses = new Map<number, number[]>();
  for (const { steps } of trainers) {
    for (const { step, loss } of steps.values()) {
      losses.set(step, [...(losses.get(step) ?? []), loss]);
    }
  }
  const again = [...losses.values()].filter((found) => found.length > 1);
  const same = again.filter((found) => found.every((loss) => loss === found[0]));
  return { steps: again.length, sameLoss: same.length };
}
