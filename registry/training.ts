/**
 * Training's progress. The compare-and-swap of `head.json` is its only commit: a checkpoint counts when the
 * head names it, and only the holder of the newest fence can make the head name anything.
 */
import { createHash } from 'node:crypto';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import {
  checkpointManifestSchema,
  headSchema,
  modelManifestSchema,
  type CheckpointManifest,
  type DecidedMicroBatch,
  type DecidedRollback,
  type Ending,
  type Head,
  type ModelManifest,
  type RateChange,
} from '../config/manifests.ts';
import type { MicroBatch, Rollback } from '../config/trainer.ts';
import { decodeJsonLines, encodeJsonLines, hasBlob, putBlob, readBlob } from './blobs.ts';
import {
  ArtifactMismatch,
  CheckpointMismatch,
  FencedError,
  NameTaken,
  RatesDiffer,
} from './errors.ts';
import { decodeRecord, encodeRecord, readRecord, updateRecord, type ReadRecord } from './json.ts';
import { keyPart, padded } from './keys.ts';
import { describeMicroBatches, microBatchesOf } from './micro-batches.ts';
import { describeRollbacks, rollbacksOf } from './rollbacks.ts';
import type { Store } from './store.ts';

/** One attempt at training one phase with one recipe. */
export interface TrialPath {
  run: string;
  phase: string;
  round: number;
  trial: number;
}

/** Who writes: the fence of its generation, and the random id that it was opened with. */
export interface Writer {
  fence: number;
  writer: string;
}

function folderOf({ run, phase, round, trial }: TrialPath): string {
  return ['runs', keyPart('run', run), keyPart('phase', phase), String(round), String(trial)].join(
    '/',
  );
}

/** Where the head of a trial lies. */
export function headKey(trial: TrialPath): string {
  return `${folderOf(trial)}/head.json`;
}

/** Digest of a checkpoint's files: the bits that a resumed training starts from. */
export function checkpointState(files: Record<string, BlobRef>): string {
  return createHash('sha256').update(canonicalJson(files)).digest('hex');
}

/** The head of a trial; null before its first generation. */
export async function readHead(store: Store, trial: TrialPath): Promise<ReadRecord<Head> | null> {
  return readRecord(store, headKey(trial), headSchema);
}

/** The manifest of a checkpoint in the chain, verified. */
export async function readCheckpoint(
  store: Store,
  entry: Head['chain'][number],
): Promise<CheckpointManifest> {
  const bytes = await readBlob(store, entry.manifest);
  return decodeRecord(`the checkpoint of step ${entry.step}`, bytes, checkpointManifestSchema);
}

/** The end by the budget that is in force: training has not gone on since; undefined where there is none. */
export function endingOf({ endings }: Pick<Head, 'endings'>): Ending | undefined {
  const last = endings?.at(-1);
  return last?.continuedAt === undefined ? last : undefined;
}

/** More was added to the budget that a training had ended by. */
export interface Continued {
  ending: Pick<Ending, 'fence'>;
  at: string;
}

/** Who fences a generation off to end its trainer: the same for all hosts and attempts. */
export function stopWriter(writer: string): string {
  return `stop ${writer}`;
}

/** Only a stop comes between two generations of one execution. */
function isAfter(writer: string, after: string | readonly string[]): boolean {
  return [after].flat().includes(writer) || writer.startsWith(stopWriter(''));
}

/**
 * Takes the next fence: from here on older generations cannot commit. Asking again with the same id changes
 * nothing. `stage` is the digest of the job: what another job has trained under this name is not gone on from, unless
 * this one `replaces` it. `continued` takes back that end by the budget. `after` is the generation that this one
 * follows, or several of which one is that: an attempt that is woken when others have followed takes nothing from
 * them, nor does one that `isOver`.
 */
export async function openGeneration(
  store: Store,
  trial: TrialPath,
  {
    stage,
    writer,
    replaces = false,
    continued,
    after,
    isOver = () => false,
  }: {
    stage: string;
    writer: string;
    replaces?: boolean;
    continued?: Continued | undefined;
    after?: string | readonly string[] | undefined;
    isOver?: () => boolean;
  },
): Promise<Head> {
  return updateRecord(store, headKey(trial), headSchema, (found) => {
    const isOther = found !== null && found.stage !== stage;
    const head = isOther && replaces ? null : found;
    if (head !== null && head.stage !== stage) {
      throw new NameTaken(
        `${headKey(trial)} holds the training of another job (${head.stage.slice(0, 12)}, this one is ${stage.slice(0, 12)}): ` +
          `a run named ${trial.run} has trained another pipeline, corpus or version of Temper before. ` +
          'Start this one under another name; finished stages are found again.',
      );
    }
    if (head?.writer === writer) return head;
    const isOvertaken = after !== undefined && head !== null && !isAfter(head.writer, after);
    if (isOvertaken || isOver()) {
      throw new FencedError(
        `${headKey(trial)}: fence ${found?.fence ?? 0} is of another generation than the one that this attempt follows. ` +
          'It is over; its successor goes on.',
      );
    }
    const fence = (found?.fence ?? 0) + 1;
    const firstFence = isOther ? fence : found?.firstFence;
    const ending = head === null ? undefined : endingOf(head);
    const goesOn =
      ending !== undefined &&
      continued !== undefined &&
      // More than that was spent since; what was added was for the end before.
      ending.fence === continued.ending.fence;
    const endings = goesOn
      ? [...head!.endings!.slice(0, -1), { ...ending, continuedAt: continued.at }]
      : head?.endings;
    return {
      schemaVersion: 1,
      stage,
      fence,
      writer,
      chain: head?.chain ?? [],
      learningRates: head?.learningRates ?? [],
      rollbacks: head?.rollbacks ?? [],
      ...(head?.gang && { gang: head.gang }),
      ...(head?.worlds && { worlds: head.worlds }),
      ...(head?.codes && { codes: head.codes }),
      ...(endings && { endings }),
      ...(firstFence !== undefined && { firstFence }),
      ...(head?.microBatches && { microBatches: head.microBatches }),
      finished: goesOn ? null : (head?.finished ?? null),
    };
  });
}

/** The head, when it is this writer's; else throws `FencedError`. */
export function requireOurs(trial: TrialPath, head: Head | null, { fence, writer }: Writer): Head {
  if (head !== null && head.fence === fence && head.writer === writer) return head;
  const holder = head === null ? 'no generation was opened' : `fence ${head.fence} holds it`;
  throw new FencedError(
    `${headKey(trial)}: fence ${fence} may not write, ${holder}. This attempt is over; its successor goes on.`,
  );
}

/** As a trainer reads them: one factor a step, the last that was decided. */
export function ratesOf(decided: readonly RateChange[]): RateChange[] {
  const byStep = new Map(decided.map(({ step, scale }) => [step, scale]));
  return [...byStep].map(([step, scale]) => ({ step, scale })).toSorted((a, b) => a.step - b.step);
}

/** The changes that had an effect on the steps before this one. */
function effectsBefore(step: number, changes: readonly RateChange[]): RateChange[] {
  const due = ratesOf(changes).filter((change) => change.step < step);
  return due.filter(({ scale }, index) => scale !== (due[index - 1]?.scale ?? 1));
}

/** What a trainer says of how it computed: the rates, the returns to before a bad loss, and the micro-batches. */
export interface Used {
  learningRates?: readonly RateChange[];
  rollbacks?: readonly Rollback[];
  microBatches?: readonly MicroBatch[];
}

function describeRates(changes: RateChange[]): string {
  const told = changes.map(({ step, scale }) => `×${scale} from step ${step} on`);
  return told.length === 0 ? 'the planned rate throughout' : told.join(', ');
}

/**
 * Why what was computed up to a step at these rates does not count; null when they are those that the head has
 * decided. A host that was lost may have gone on without hearing of a change.
 */
export function ratesFault(
  { learningRates }: Pick<Head, 'learningRates'>,
  step: number,
  used: readonly RateChange[],
): RatesDiffer | null {
  const [found, decided] = [effectsBefore(step, used), effectsBefore(step, learningRates)];
  if (canonicalJson(found) === canonicalJson(decided)) return null;
  return new RatesDiffer(
    `step ${step} is discarded: it was computed with ${describeRates(found)}, decided was ${describeRates(decided)}`,
  );
}

function requireDecided(head: Head, step: number, used: Used): void {
  const fault = ratesFault(head, step, used.learningRates ?? []);
  if (fault !== null) throw fault;
  const [found, decided] = [used.rollbacks ?? [], rollbacksOf(head.rollbacks)].map((rollbacks) =>
    rollbacks.filter((rollback) => rollback.step < step),
  ) as [Rollback[], Rollback[]];
  if (canonicalJson(found) !== canonicalJson(decided)) {
    throw new RatesDiffer(
      `step ${step} is discarded: it was computed with ${describeRollbacks(found)}, decided was ${describeRollbacks(decided)}`,
    );
  }
  const [sizes, planned] = [used.microBatches ?? [], microBatchesOf(head.microBatches ?? [])].map(
    (decisions) => decisions.filter((decision) => decision.step < step),
  ) as [MicroBatch[], MicroBatch[]];
  if (canonicalJson(sizes) === canonicalJson(planned)) return;
  throw new RatesDiffer(
    `step ${step} is discarded: it was computed with ${describeMicroBatches(sizes)}, decided was ${describeMicroBatches(planned)}`,
  );
}

/**
 * Makes a checkpoint count that was computed as was decided. A step that is in the chain with the same state is a
 * success; with another, an error.
 */
export async function commitCheckpoint(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  manifest: CheckpointManifest,
  used: Used = {},
): Promise<Head> {
  const checkpoint = checkpointManifestSchema.parse(manifest);
  requireOurs(trial, (await readHead(store, trial))?.value ?? null, writer);
  await requireWhole(store, trial, writer, checkpoint);
  const bytes = encodeRecord(checkpoint);
  const ref = await putBlob(store, bytes);
  const name = `${padded(checkpoint.step, 8)}-${checkpoint.fence}.json`;
  // A copy for readers of the bucket; the head names the blob.
  await store.putIfAbsent(`${folderOf(trial)}/checkpoints/${name}`, bytes);
  return updateRecord(store, headKey(trial), headSchema, async (current) => {
    const head = requireOurs(trial, current, writer);
    requireDecided(head, checkpoint.step, used);
    const committed = head.chain.find((entry) => entry.step === checkpoint.step);
    if (committed !== undefined) {
      await requireSame(store, trial, committed, checkpoint);
      return head;
    }
    if (head.finished !== null) {
      throw new Error(
        `${headKey(trial)}: found a finished phase, expected one that is training. ` +
          `Commit the checkpoint of step ${checkpoint.step} before the model.`,
      );
    }
    const entry = { step: checkpoint.step, fence: writer.fence, manifest: ref };
    return { ...head, chain: [...head.chain, entry].toSorted((a, b) => a.step - b.step) };
  });
}

/**
 * Makes a change of the learning rate count, for whoever goes on from here: at no step that a checkpoint has passed.
 * The same order again changes nothing.
 */
export async function commitLearningRate(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  decision: Head['learningRates'][number],
): Promise<Head> {
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    const decided = head.learningRates.some((earlier) => isSameOrder(earlier, decision));
    if (decided || head.finished !== null) return head;
    const last = head.chain.at(-1)?.step ?? 0;
    if (decision.step < last) {
      throw new Error(
        `${headKey(trial)}: found a change of the rate at step ${decision.step}, expected none before step ${last}, ` +
          'whose checkpoint counts. Decide it where the trainer stands then.',
      );
    }
    return { ...head, learningRates: [...head.learningRates, decision] };
  });
}

/**
 * Makes a return to an earlier step count, for whoever goes on from here: what was computed after that step counts
 * no more. A generation decides one at most: again it changes nothing.
 */
export async function commitRollback(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  decision: Omit<DecidedRollback, 'fence'>,
): Promise<Head> {
  const { fence } = writer;
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    if (head.finished !== null || head.rollbacks.some((earlier) => earlier.fence === fence)) {
      return head;
    }
    return {
      ...head,
      chain: head.chain.filter(({ step }) => step <= decision.step),
      rollbacks: [...head.rollbacks, { ...decision, fence }],
    };
  });
}

/** Makes an end by the budget count, for whoever goes on from here. One that is in force stays as it is. */
export async function commitEnding(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  decision: Omit<Ending, 'fence' | 'continuedAt'>,
): Promise<Head> {
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    if (head.finished !== null || endingOf(head) !== undefined) return head;
    if (!head.chain.some(({ step }) => step === decision.step)) {
      throw new Error(
        `${headKey(trial)}: found an end at step ${decision.step}, expected the step of a checkpoint in the chain ` +
          `(${head.chain.map(({ step }) => step).join(', ')}).`,
      );
    }
    return { ...head, endings: [...(head.endings ?? []), { ...decision, fence: writer.fence }] };
  });
}

/**
 * Makes a smaller micro-batch count from the newest checkpoint on, for whoever goes on from there. A generation
 * decides one at most: again it changes nothing.
 */
export async function commitMicroBatch(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  decision: Omit<DecidedMicroBatch, 'fence' | 'step'>,
): Promise<Head> {
  const { fence } = writer;
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    const before = head.microBatches ?? [];
    if (head.finished !== null || before.some((earlier) => earlier.fence === fence)) return head;
    const step = head.chain.at(-1)?.step ?? 0;
    return { ...head, microBatches: [...before, { ...decision, step, fence }] };
  });
}

/** Orders are numbered anew in each execution of a run. */
export function isSameOrder(
  a: Pick<Head['learningRates'][number], 'order' | 'execution'>,
  b: Pick<Head['learningRates'][number], 'order' | 'execution'>,
): boolean {
  return a.order === b.order && a.execution === b.execution;
}

/** Makes the model count that was trained as was decided, and ends the trial. */
export async function commitFinished(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  model: ModelManifest,
  used: Used = {},
): Promise<Head> {
  const value = modelManifestSchema.parse(model);
  requireOurs(trial, (await readHead(store, trial))?.value ?? null, writer);
  await requireBlobs(store, Object.entries(value.files), 'the model');
  const ref = await putBlob(store, encodeRecord(value));
  return updateRecord(store, headKey(trial), headSchema, (current) => {
    const head = requireOurs(trial, current, writer);
    requireDecided(head, value.numSteps, used);
    const ending = endingOf(head);
    if (ending !== undefined && value.numSteps !== ending.step) {
      throw new CheckpointMismatch(
        `${headKey(trial)}: found a model of step ${value.numSteps}, expected one of step ${ending.step}, where the budget ended the training.`,
      );
    }
    if (head.finished !== null && head.finished.sha256 !== ref.sha256) {
      throw new CheckpointMismatch(
        `${headKey(trial)}: finished with model ${head.finished.sha256}, now with ${ref.sha256}. ` +
          'The same plan gave two models: the training is not exact on this machine.',
      );
    }
    return { ...head, finished: ref };
  });
}

async function requireWhole(
  store: Store,
  trial: TrialPath,
  { fence }: Writer,
  checkpoint: CheckpointManifest,
): Promise<void> {
  const what = `the checkpoint of step ${checkpoint.step} of ${folderOf(trial)}`;
  if (checkpoint.fence !== fence) {
    throw new Error(`${what} names fence ${checkpoint.fence}, expected the writer's, ${fence}.`);
  }
  const state = checkpointState(checkpoint.files);
  if (checkpoint.state !== state) {
    throw new ArtifactMismatch(
      `${what} has state ${checkpoint.state}, but its files have ${state}. Use checkpointState(files).`,
    );
  }
  await requireBlobs(store, Object.entries(checkpoint.files), what);
}

/** A pointer may only name what is there. */
async function requireBlobs(store: Store, files: [string, BlobRef][], what: string): Promise<void> {
  await Promise.all(
    files.map(async ([name, ref]) => {
      if (await hasBlob(store, ref)) return;
      throw new ArtifactMismatch(
        `${what}: its file ${name} (SHA-256 ${ref.sha256}) is not in the store. Upload it first.`,
      );
    }),
  );
}

async function requireSame(
  store: Store,
  trial: TrialPath,
  entry: Head['chain'][number],
  checkpoint: CheckpointManifest,
): Promise<void> {
  const committed = await readCheckpoint(store, entry);
  if (committed.state === checkpoint.state) return;
  const names = new Set([...Object.keys(committed.files), ...Object.keys(checkpoint.files)]);
  const differing = [...names]
    .filter((name) => committed.files[name]?.sha256 !== checkpoint.files[name]?.sha256)
    .toSorted();
  throw new CheckpointMismatch(
    `${folderOf(trial)} step ${entry.step}: state ${committed.state} was committed by fence ${entry.fence}, ` +
      `fence ${checkpoint.fence} computed ${checkpoint.state} (${differing.join(', ')} differ). ` +
      'The same plan gave other bits: the training is not exact on this machine.',
  );
}

/** Stores a piece of the metrics; the same piece again changes nothing. */
export async function putEvents(
  store: Store,
  trial: TrialPath,
  fence: number,
  sequence: number,
  lines: Iterable<unknown>,
): Promise<void> {
  const name = `${padded(sequence, 6)}-${fence}.jsonl.zst`;
  await store.putIfAbsent(`${folderOf(trial)}/events/${name}`, await encodeJsonLines(lines));
}

/** What the generations of a trial stored, by fence, each in the order in which its trainer wrote it. */
export async function* storedEvents(
  store: Store,
  trial: TrialPath,
): AsyncIterable<{ fence: number; lines: unknown[] }> {
  const pieces: { key: string; sequence: number; fence: number }[] = [];
  const firstFence = (await readHead(store, trial))?.value.firstFence ?? 0;
  for await (const { key } of store.list(`${folderOf(trial)}/events/`)) {
    const match = /\/(\d+)-(\d+)\.jsonl\.zst$/.exec(key);
    if (match === null) continue;
    const piece = { key, sequence: Number(match[1]), fence: Number(match[2]) };
    if (piece.fence >= firstFence) pieces.push(piece);
  }
  for (const { key, fence } of pieces.toSorted(
    (a, b) => a.fence - b.fence || a.sequence - b.sequence,
  )) {
    const found = await store.get(key);
    if (found !== null) yield { fence, lines: await decodeJsonLines(found.bytes) };
  }
}

/**
 * Every stored event, by generation, then in the order they were written. A generation that adopts a trainer
 * stores its events from the first on, and a resumed trainer repeats steps: each is told once, as it was first. What
 * was taken back is not told.
 */
export async function readEvents(store: Store, trial: TrialPath): Promise<unknown[]> {
  const rollbacks = (await readHead(store, trial))?.value.rollbacks ?? [];
  const events: unknown[] = [];
  for await (const { fence, lines } of storedEvents(store, trial)) {
    const lastStep = Math.min(
      ...rollbacks.filter((rollback) => fence <= rollback.fence).map(({ step }) => step),
    );
    for (const line of lines) {
      // Infinity, where nothing was taken back.
      if (((line as { step?: number }).step ?? 0) <= lastStep) events.push(line);
    }
  }
  const seen = new Set<string>();
  return events.filter((line) => {
    const { event, step } = line as { event?: string; step?: number };
    if (step === undefined) return true;
    const key = `${event} ${step}`;
    return !seen.has(key) && seen.add(key);
  });
}
