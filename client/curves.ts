/** The curves of a run, step by step, and the same as event files for TensorBoard; read again and again while it goes on. */
import path from 'node:path';
import { trainerEventSchema, type TrainingProgress } from '../config/trainer.ts';
import { chosenTrial } from '../registry/decisions.ts';
import type { Store } from '../registry/store.ts';
import { readEvents, type TrialPath } from '../registry/training.ts';
import { phaseReports, traceRun } from './report/gather.ts';
import { trainerOf } from './report/phases.ts';
import type { PhaseReport } from './report/run-report.ts';
import type { Trace } from './report/trace.ts';
import { eventFile } from './tensorboard/events.ts';
import { keepEventFile } from './tensorboard/folder.ts';
import type { RunRequest } from './unknown-run.ts';

export interface RunCurves {
  run: string;
  state: Trace['state'];
  /** Where its trainer is now; null when none is at work. */
  live: TrainingProgress | null;
  /** Each in its newest round, with a point for each step. */
  phases: PhaseReport[];
  trace: Trace;
}

/** Reads the curves; throws a ClientError for a run that nobody knows. */
export async function readCurves(request: RunRequest): Promise<RunCurves> {
  const trace = await traceRun(request);
  const { state, training: live } = trace;
  const phases = await phaseReports(request.store, request.run, trace);
  return { run: request.run, state, live, phases, trace };
}

/** The store as seen by somebody who looks again and again: pieces of events never change, so each is fetched once. */
export function rememberEvents(store: Store): Store {
  const seen = new Map<string, Awaited<ReturnType<Store['get']>>>();
  return {
    ...store,
    async get(key) {
      if (!key.endsWith('.jsonl.zst')) return await store.get(key);
      const found = seen.get(key) ?? (await store.get(key));
      if (found !== null) seen.set(key, found);
      return found;
    },
  };
}

export interface KeptEvents {
  phase: string;
  folder: string;
  /** Steps and evaluations. */
  numValues: number;
}

/** Writes every training of a run below the folder: `<run>/<phase>`, later rounds as `<run>/<phase>-round-2`. */
export async function keepTensorboard(
  store: Store,
  { run, phases, trace }: RunCurves,
  folder: string,
): Promise<KeptEvents[]> {
  const kept: KeptEvents[] = [];
  const trials: (TrialPath & { name: string })[] = [];
  for (const { phase, round } of trace.trials) {
    const at = { run, phase, round };
    const name = round === 0 ? phase : `${phase}-round-${round + 1}`;
    trials.push({ ...at, trial: await chosenTrial(store, at), name });
  }
  for (const { phase, trainedBy, weights } of phases) {
    if (trainedBy === run || weights === null) continue;
    const other = await trainerOf(store, phase, weights);
    if (other !== null) trials.push({ ...other, phase, name: phase });
  }
  for (const { name, ...trial } of trials) {
    const lines = await readEvents(store, trial);
    const events = lines.flatMap((line) => trainerEventSchema.safeParse(line).data ?? []);
    const place = path.join(folder, run, name);
    await keepEventFile(place, eventFile(events));
    const numValues = events.filter(({ event }) => event === 'step' || event === 'eval').length;
    if (numValues > 0) kept.push({ phase: trial.phase, folder: place, numValues });
  }
  return kept;
}
