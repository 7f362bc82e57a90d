/**
 * Brings the trainer of a generation to life: adopts the one that still runs on this host, takes the
 * result of one that ended unwatched, or starts one from the newest committed checkpoint.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure, Context, log } from '@temporalio/activity';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import {
  checkpointManifestSchema,
  corpusManifestSchema,
  rehearsalManifestSchema,
  type CorpusManifest,
  type CheckpointManifest,
  type Head,
} from '../config/manifests.ts';
import { ranksAHost } from '../config/recipe.ts';
import { trainerRunSchema, type TrainerEvent, type TrainerRun } from '../config/trainer.ts';
import { readBlob } from '../registry/blobs.ts';
import { readRunControl } from '../registry/run-control.ts';
import { microBatchesOf } from '../registry/micro-batches.ts';
import { rollbacksOf } from '../registry/rollbacks.ts';
import {
  endingOf,
  putEvents,
  ratesFault,
  ratesOf,
  readEvents,
  readHead,
} from '../registry/training.ts';
import { isRatesDiffer, isUnusable, ratesUsed, uploadCheckpoint } from './checkpoint-uploads.ts';
import type { Deps } from './deps.ts';
import { openMeeting, placeInGang } from './gang-meeting.ts';
import { cached, ensureFile } from './files.ts';
import { withSigns } from './heartbeats.ts';
import { refuseIfLeaving } from './leaving.ts';
import { requireModel, requireStage } from './stage-records.ts';
import type { Generation, TrainingJob } from './training-job.ts';
import { tellDiskFull } from './trainer-disk.ts';
import {
  EventTail,
  isOfCodes,
  readControl,
  readResult,
  readRun,
  writeCodes,
  writeControl,
  writeRun,
} from './trainer-files.ts';
import { untoldSequence } from './trainer-metrics.ts';
import { endTrainer, startTrainer, trainerIsGone } from './trainer-process.ts';
import { throwIfEnded } from './trainer-signs.ts';
import { endTraining, TrainingBudget } from './training-budget.ts';
import { decideCode } from './training-code.ts';

export interface TrainerStart {
  adopted: boolean;
  /** Step from which this generation goes on; null for a fresh start. */
  resumedFrom: number | null;
  /** What an operator should know of this start; null for an ordinary one. */
  note: string | null;
}

/** The folder of a trial on this host. The disk is a cache: `head.json` says what counts. */
export function runDirOf(deps: Deps, { run, phase, round, trial }: TrainingJob['trial']): string {
  return path.join(deps.home, 'runs', run, `${phase}-${round}-${trial}`);
}

/** Throws `Fenced` when a newer generation has taken over. */
export async function requireHead(deps: Deps, { job, fence }: Generation): Promise<Head> {
  const head = (await readHead(deps.store, job.trial))?.value;
  if (head !== undefined && head.fence === fence) return head;
  throw ApplicationFailure.nonRetryable(
    `generation ${fence} of ${job.trial.phase} is over: head.json is at ${head?.fence ?? 'none'}`,
    FailureType.Fenced,
  );
}

/** Two attempts at the same run directory, one of them stale, must not start and end trainers in turns. */
const inUse = new Map<string, Promise<unknown>>();

/** Runs the work when nobody else in this worker works on the run directory. */
export async function inRunDir<Result>(
  runDir: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const mine = (inUse.get(runDir) ?? Promise.resolve()).then(work, work);
  inUse.set(runDir, mine);
  try {
    return await mine;
  } finally {
    if (inUse.get(runDir) === mine) inUse.delete(runDir);
  }
}

/** Prepares a trainer, with signs of life, when nobody else in this worker works on its run directory. */
export async function preparing<Result>(
  deps: Deps,
  { job }: Generation,
  work: (runDir: string) => Promise<Result>,
): Promise<Result> {
  const context = Context.current();
  const runDir = runDirOf(deps, job.trial);
  return await withSigns(
    () => context.heartbeat({ kind: 'prepare' }),
    () => tellDiskFull(deps, job, () => inRunDir(runDir, () => work(runDir))),
  );
}

/** The head of a generation that is not over: asked right before each deed that would harm a newer one. */
export async function requireCurrent(deps: Deps, generation: Generation): Promise<Head> {
  const context = Context.current();
  throwIfEnded(context);
  const head = await requireHead(deps, generation);
  throwIfEnded(context);
  return head;
}

export async function prepareTrainer(deps: Deps, generation: Generation): Promise<TrainerStart> {
  return await preparing(deps, generation, (runDir) => prepare(deps, generation, runDir));
}

async function prepare(deps: Deps, generation: Generation, runDir: string): Promise<TrainerStart> {
  const { job, fence, gang } = generation;
  let head = await requireCurrent(deps, generation);
  const budget = await TrainingBudget.open(deps, generation, runDir);
  await mkdir(path.join(runDir, 'checkpoints'), { recursive: true });
  if (head.finished !== null && generation.until === undefined)
    return { adopted: true, resumedFrom: null, note: null };
  const { until } = generation;
  const wanted = {
    ...(await trainerRun(deps, generation, head, runDir)),
    ...(until !== undefined && { untilStep: until }),
  };
  const there = await readRun(runDir);
  // What other code has computed is not gone on from, wherever it lies.
  const same =
    there !== null && identity(there) === identity(wanted) && (await isOfCodes(runDir, head));
  const events = await new EventTail(runDir).read();
  const lastStep = lastStepOf(events);
  const told = await readControl(runDir);
  /** What of this host's work does not count, and why. */
  const discarded = new Set<string>();

  if (same) {
    const alive = !(await trainerIsGone(runDir)) && mayGoOn(there, generation, head);
    const result = await readResult(runDir);
    if (alive || result?.ok === true) {
      head = await requireCurrent(deps, generation);
      const fault =
        result?.ok === true
          ? ratesFault(head, result.step, ratesUsed(result.learningRates ?? []))
          : ratesFault(head, lastStep, told?.learningRates ?? []);
      if (fault === null) {
        // Only who follows it may let it go on or make it pause: the pause that it obeys may serve a decision.
        const { paused, pause } = { paused: told?.paused ?? false, pause: told?.pause ?? 0 };
        await control(runDir, fence, head, { paused, pause });
        const note = alive
          ? `the trainer went on and was adopted at step ${lastStep}, 0 steps lost`
          : `the trainer had finished unwatched, 0 steps lost`;
        return { adopted: true, resumedFrom: null, note: fence > 1 ? note : null };
      }
      log.warn('the trainer of this host is ended', { reason: fault.message });
      discarded.add(fault.message);
      await endTrainer(runDir, 0);
    }
    head = await takeOverCheckpoint(deps, generation, { runDir, events }, head, discarded);
  }
  refuseIfLeaving(deps);
  let spent = '';
  if (budget !== null && endingOf(head) === undefined && budget.isDue(deps.now(), null)) {
    const ended = await endTraining(deps, generation, budget);
    head = ended.head;
    spent = `; ${ended.text}`;
  }
  // Whatever else runs in this folder is not what this job needs.
  await requireCurrent(deps, generation);
  await endTrainer(runDir, 0);
  const checkpoint = await restoreCheckpoint(deps, runDir, upTo(generation.until, head));
  const wish = await readRunControl(deps.store, job.trial.run, generation.execution);
  const paused = (wish?.paused ?? null) !== null;
  // Of a trainer that did not do what was decided, only what is gone on from counts.
  const counts = discarded.size === 0 ? Infinity : (checkpoint?.step ?? 0);
  if (same) await storeUntold(deps, generation, events, counts, untoldSequence.behind);
  // What was brought took its time: by now the folder may be a newer generation's.
  await requireCurrent(deps, generation);
  const decided = await decideCode(deps, generation, checkpoint?.step ?? 0);
  head = decided.head;
  await keepOnly(path.join(runDir, 'checkpoints'), checkpoint?.folder);
  for (const file of ['result.json', 'events.jsonl'])
    await rm(path.join(runDir, file), { force: true });
  // It may lose its watcher before that has told it anything.
  const stopAt = endingOf(head) === undefined ? budget?.stopAt(deps.now(), null) : undefined;
  await control(runDir, fence, head, { paused, pause: (told?.pause ?? 0) + 1, stopAt });
  head = await requireCurrent(deps, generation);
  if (gang !== undefined) head = await openMeeting(deps, generation, checkpoint?.step ?? 0);
  const place = placeInGang(deps, head, gang);
  const resumeFrom = checkpoint?.folder ?? null;
  await writeCodes(runDir, head.codes);
  await writeRun(runDir, { ...wanted, ...endOf(head), resumeFrom, ...place });
  await startTrainer({
    python: deps.python,
    projectDir: deps.projectDir,
    runDir,
  });
  const resumedFrom = checkpoint?.step ?? null;
  const lost = Math.max(0, lastStep - (resumedFrom ?? 0));
  const why = discarded.size === 0 ? '' : ` (${[...discarded].join('; ')})`;
  const resumed = `resumed from step ${resumedFrom ?? 0}, ${lost} steps lost${checkpoint?.skipped ?? ''}${why}${spent}`;
  const notes = [fence === 1 ? null : resumed, decided.told].filter((text) => text !== null);
  const note = notes.length === 0 ? null : notes.join('; ');
  return { adopted: false, resumedFrom, note };
}

/** Where a trainer ends before the recipe does, because the budget was spent. */
function endOf(head: Pick<Head, 'endings'>): { endAt?: number } {
  const ending = endingOf(head);
  return ending === undefined ? {} : { endAt: ending.step };
}

/** What must be equal for a running trainer to be the one that this job needs. */
function identity(run: TrainerRun): string {
  const { peakFile: _measured, gang: _place, ...needed } = run;
  return canonicalJson({ ...needed, resumeFrom: null });
}

/** A trainer that lives is worth nothing without the others of its gang. */
function mayGoOn({ gang: its }: TrainerRun, { gang }: Generation, head: Head): boolean {
  if (gang === undefined || gang.hosts.length === 1) return its === undefined;
  return gang.adopt && its !== undefined && its.meeting === head.gang?.meeting;
}

/** Tells a trainer what counts, and from which generation on. */
export async function control(
  runDir: string,
  fence: number,
  head: Head,
  { paused, pause, stopAt }: { paused: boolean; pause: number; stopAt?: number | undefined },
): Promise<void> {
  const acknowledged = head.chain.map(({ step }) => step);
  await writeControl(runDir, {
    fence,
    acknowledged,
    paused,
    pause,
    learningRates: ratesOf(head.learningRates),
    ...(stopAt !== undefined && { stopAt }),
  });
}

/**
 * A trainer that nobody watched has saved before it left: its newest whole checkpoint counts from here on. Only
 * what it wrote itself is taken, by the digests in its state.json, and only what it computed at the rates that were
 * decided.
 */
async function takeOverCheckpoint(
  deps: Deps,
  generation: Generation,
  { runDir, events }: { runDir: string; events: readonly TrainerEvent[] },
  head: Head,
  discarded: Set<string>,
): Promise<Head> {
  const folder = path.join(runDir, 'checkpoints');
  const steps = (await readdir(folder)).filter((name) => /^\d+$/.test(name)).map(Number);
  const durableStep = head.chain.at(-1)?.step ?? 0;
  for (const step of steps.toSorted((a, b) => b - a)) {
    if (step <= durableStep) break;
    try {
      const checkpoint = { step, folder: path.join(folder, String(step)) };
      return await uploadCheckpoint(deps, generation, checkpoint, async (rates) => {
        const fault = ratesFault(head, step, rates);
        if (fault !== null) throw fault;
        await storeUntold(deps, generation, events, step, untoldSequence.counting);
      });
    } catch (error) {
      if (isRatesDiffer(error)) discarded.add(error.message);
      else if (!isUnusable(error)) throw error;
      log.warn('local checkpoint left out', { step, error });
    }
  }
  return head;
}

function lastStepOf(events: readonly TrainerEvent[]): number {
  let step = 0;
  for (const event of events)
    if (event.event === 'start' || event.event === 'step') step = event.step;
  return step;
}

/** What a trainer told while nobody watched, up to a step: the one that goes on from its work does not tell it again. */
async function storeUntold(
  { store }: Deps,
  { job: { trial }, fence }: Generation,
  events: readonly TrainerEvent[],
  lastStep: number,
  sequence: number,
): Promise<void> {
  const stored = new Set<unknown>();
  for (const line of await readEvents(store, trial)) stored.add((line as { step?: number }).step);
  const mine = events.filter(
    (event) => event.event !== 'working' && (!('step' in event) || event.step <= lastStep),
  );
  if (mine.every((event) => event.event !== 'step' || stored.has(event.step))) return;
  await putEvents(store, trial, fence, sequence, mine);
}

/** Brings the inputs to this host and says what to train. */
export async function trainerRun(
  deps: Deps,
  { job, gang }: Pick<Generation, 'job' | 'gang'>,
  head: Pick<Head, 'rollbacks' | 'microBatches' | 'endings'>,
  runDir: string,
): Promise<TrainerRun> {
  const { store } = deps;
  const corpus = await requireStage(store, 'preprocess', job.corpus, corpusManifestSchema);
  const fetch = (ref: BlobRef) => cached(deps, ref);
  let init: string | null = null;
  if (job.init !== null) {
    const model = await requireModel(store, job.init);
    // Its digest in the name: a trainer that started from another model is not the one that is needed.
    init = path.join(runDir, `init-${job.init.stage.slice(0, 16)}`);
    for (const [name, ref] of Object.entries(model.files))
      await ensureFile(deps, ref, path.join(init, name));
  }
  return trainerRunSchema.parse({
    schemaVersion: 1,
    runDir,
    recipe:
      gang === undefined
        ? job.recipe
        : { ...job.recipe, worldSize: gang.hosts.length * ranksAHost(job.machine) },
    model: job.shape,
    tokenizer: await fetch(corpus.tokenizer),
    init,
    data: await trainingData(deps, job, corpus),
    resumeFrom: null,
    // A trainer that was not given them is another one: neither it nor what it saved is gone on from.
    ...(head.rollbacks.length > 0 && { rollbacks: rollbacksOf(head.rollbacks) }),
    ...endOf(head),
    ...(head.microBatches && { microBatches: microBatchesOf(head.microBatches) }),
    peakFile: path.join(deps.home, 'machine-peak.json'),
  });
}

async function trainingData(
  deps: Deps,
  { recipe: { phase }, rehearsal }: TrainingJob,
  corpus: CorpusManifest,
): Promise<TrainerRun['data']> {
  const fetch = (ref: BlobRef) => cached(deps, ref);
  if (phase === 'pretrain') {
    const fetched = async (refs: CorpusManifest['shards']) => {
      const shards = [];
      for (const { tokens, numTokens } of refs)
        shards.push({ path: await fetch(tokens), numTokens });
      return shards;
    };
    const { tokens, numTokens, bytes } = corpus.heldOut;
    return {
      kind: 'tokens',
      shards: await fetched(corpus.shards),
      ...(corpus.older && { older: await fetched(corpus.older) }),
      tokenBytes: corpus.tokenBytes,
      heldOut: { path: await fetch(tokens), numTokens, bytes },
      ...(rehearsal !== undefined && { rehearsal: await fetch(await rowsOf(deps, rehearsal)) }),
    };
  }
  if (corpus.instructions === null) {
    throw ApplicationFailure.nonRetryable(
      `${phase} needs instruction data, and the corpus has none. Add questions to the pipeline file, or set phases: [pretrain].`,
      FailureType.InvalidConfig,
    );
  }
  return phase === 'sft'
    ? { kind: 'chat', path: await fetch(corpus.instructions.train) }
    : { kind: 'preferences', path: await fetch(corpus.instructions.preferences) };
}

async function rowsOf({ store }: Deps, stage: string): Promise<BlobRef> {
  return (await requireStage(store, 'rehearse', stage, rehearsalManifestSchema)).tokens;
}

/** The chain as far as a trial may have gone at the end of its rung. */
function upTo(until: number | undefined, head: Head): Head {
  return until === undefined
    ? head
    : { ...head, chain: head.chain.filter(({ step }) => step <= until) };
}

/** The newest checkpoint of the chain whose every file has its digest; older ones are tried in turn. */
export async function restoreCheckpoint(
  deps: Deps,
  runDir: string,
  head: Head,
): Promise<{ step: number; folder: string; skipped: string } | null> {
  const broken: string[] = [];
  const { endAt = Infinity } = endOf(head);
  for (const entry of head.chain.toReversed()) {
    // What was trained after the end is kept for when more is added to the budget.
    if (entry.step > endAt) continue;
    const folder = path.join(runDir, 'checkpoints', String(entry.step));
    try {
      const bytes = await readBlob(deps.store, entry.manifest);
      const manifest: CheckpointManifest = checkpointManifestSchema.parse(
        JSON.parse(bytes.toString('utf8')),
      );
      await keepOnly(folder, undefined, Object.keys(manifest.files));
      for (const [name, ref] of Object.entries(manifest.files))
        await ensureFile(deps, ref, path.join(folder, name));
      const skipped = broken.length === 0 ? '' : ` (unreadable: ${broken.join('; ')})`;
      return { step: entry.step, folder, skipped };
    } catch (error) {
      if (!isArtifactMismatch(error)) throw error;
      broken.push(`step ${entry.step}: ${(error as Error).message}`);
    }
  }
  if (broken.length === 0) return null;
  throw ApplicationFailure.nonRetryable(
    `no checkpoint of ${head.chain.length} can be read (${broken.join('; ')}). Nothing was started: training from step 0 ` +
      'again would lose them all. Restore the bucket, or start a new run.',
    FailureType.CheckpointIncompatible,
  );
}

function isArtifactMismatch(error: unknown): boolean {
  return error instanceof Error && error.name === 'ArtifactMismatch';
}

/** Removes every entry of a folder but the named ones. */
export async function keepOnly(
  folder: string,
  kept: string | undefined,
  names: string[] = [],
): Promise<void> {
  const keep = new Set([...names, ...(kept === undefined ? [] : [path.basename(kept)])]);
  for (const entry of await readdir(folder).catch(() => [])) {
    if (!keep.has(entry)) await rm(path.join(folder, entry), { recursive: true, force: true });
  }
}
