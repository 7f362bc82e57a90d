/** Ingest: the sources of the pipeline file become a registered dataset version of content-hashed shards. */
import { Context } from '@temporalio/activity';
import path from 'node:path';
import { z } from 'zod';
import type { DatasetGrowth, IngestResult } from '../config/ingest.ts';
import {
  datasetManifestSchema,
  type DroppedDocument,
  type DatasetManifest,
} from '../config/manifests.ts';
import { pipelineFileSchema } from '../config/pipeline.ts';
import { sourceName, sourceSchema, type Source } from '../config/sources.ts';
import {
  nothingReadable as sayNothingReadable,
  nothingSampled as sayNothingSampled,
} from '../config/dropped.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import type { PartCounts } from '../corpus/statistics.ts';
import { isTaken, openSource, readSource, type OpenSource } from '../corpus/sources.ts';
import { readJsonLines } from '../registry/blobs.ts';
import {
  getDataset,
  getExpiry,
  latestDataset,
  registerDatasetAfter,
} from '../registry/datasets.ts';
import { ArtifactMismatch, DataKeyMissing, SealBroken } from '../registry/errors.ts';
import {
  hasExpiries,
  isWhole,
  requireTime,
  requireUnexpired,
  requireWhole,
} from '../registry/expiry.ts';
import { putReadLines, sweepState } from '../registry/readings.ts';
import { addRunInputs, getRunRecord } from '../registry/runs.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { createShardDescriber, type ShardDescriber } from './describe-shards.ts';
import { VersionBefore } from './ingest-before.ts';
import { packShard, type PackShard } from './ingest-pack.ts';
import { ShardWriter } from './ingest-shards.ts';
import { expiryOf, sealingOf, type Originals } from './originals.ts';
import { s3Files, s3Place } from './s3-source.ts';
import { withoutNames } from './unnamed.ts';
import { webFiles } from './web-source.ts';
import { parseInput, progress, withFailures } from './preprocess-failures.ts';

export type { IngestResult } from '../config/ingest.ts';

export interface IngestInput {
  run: string;
  /** Name of the dataset. */
  name: string;
  sources: Source[];
  /** Share of the documents to take; left out, all. */
  sample?: number;
  /** What becomes of the documents as they were read; left out, they are kept as they are. */
  originals?: Originals;
  /** Absolute folder that relative paths start from. */
  baseDir: string;
  /** Folder whose `node_modules` holds the packages; left out, Temper's own. */
  projectDir?: string;
  /**
   * Left out, the sources are the whole of the version. Else the newest version that whoever asked has seen, to which
   * they are added; 0: there must be none.
   */
  onto?: number;
}

export interface FindDatasetInput {
  run: string;
  /** `policy` or `policy@3`. */
  dataset: string;
}

const findDatasetSchema = z.strictObject({ run: z.string(), dataset: z.string() });

const inputSchema = z.strictObject({
  run: z.string(),
  name: datasetManifestSchema.shape.name,
  sources: z.array(sourceSchema).min(1),
  sample: z.number().positive().max(1).optional(),
  originals: pipelineFileSchema.shape.data.shape.originals,
  baseDir: z.string(),
  projectDir: z.string().optional(),
  onto: z.number().int().nonnegative().optional(),
});

/** Shards whose counts are held until the version is described; those of more are read again. */
const mostCounts = 4096;
/** Others took the number of the version that was being made, again and again. */
const mostAttempts = 10;
/** Asked for the end of a sweep so often, for 50 minutes: with all attempts longer than a day, and one is begun each day. */
const waitMs = 1000;
const mostWaits = 3000;

export function createIngestActivities(deps: Deps, pack: PackShard = packShard) {
  const describer = createShardDescriber(deps);
  const parts = { describer, pack };
  return {
    async ingestCorpus(given: IngestInput): Promise<IngestResult> {
      const input = parseInput(inputSchema, given);
      return withFailures(async () => {
        for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
          const ingested = await whileBeating(async (at) =>
            orAgain(deps.store, input.name, async () => ingest(deps, parts, input, at)),
          );
          if (ingested === null) continue;
          await keepForRun(deps.store, input.run, ingested);
          return ingested;
        }
        throw new Error(
          `dataset ${input.name}: ${mostAttempts} versions in turn were made by others meanwhile. Too many writers at once; try again.`,
        );
      });
    },

    /** The dataset version that a pipeline file names: `policy`, the newest by now, or `policy@3`. */
    async findDataset(given: FindDatasetInput): Promise<IngestResult> {
      const { run, dataset } = parseInput(findDatasetSchema, given);
      return withFailures(async () => {
        const found = await requireDataset(deps.store, dataset);
        const { name, version, digest, numDocuments, bytes, dropped } = found;
        const ingested = {
          dataset: { name, version, digest },
          numDocuments,
          bytes,
          dropped,
          reused: true,
        };
        await keepForRun(deps.store, run, ingested);
        return ingested;
      });
    },
  };
}
export type IngestActivities = ReturnType<typeof createIngestActivities>;

/** What expired while it was read is no damage: the next try reads without it, or says that it expired. */
async function orAgain<Result>(
  store: Store,
  name: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    // What is missing each time was not deleted meanwhile.
    const mayBeOver = Context.current().info.attempt < mostAttempts;
    if (!(error instanceof ArtifactMismatch) || !mayBeOver || !(await hasExpiries(store)))
      throw error;
    throw new Error(
      `dataset ${name}: found documents gone while they were compared with what is read, expected those that did not expire. They are read once more.`,
      { cause: error },
    );
  }
}

/** The sources as a version that follows on the newest one; null when somebody else was quicker with the next. */
async function ingest(
  deps: Deps,
  { describer, pack }: { describer: ShardDescriber; pack: PackShard },
  input: z.infer<typeof inputSchema>,
  at: Progress,
): Promise<IngestResult | null> {
  const { run, name, sources, sample = 1, originals, baseDir, projectDir, onto } = input;
  const { store } = deps;
  const newest = await latestDataset(store, name);
  if (newest === null && onto !== undefined && onto > 0) throw nothingToGrow(name);
  const grows = onto !== undefined && onto > 0;
  const isExpired = newest !== null && (await getExpiry(store, name, newest.version)) !== null;
  if (grows && isExpired) await requireUnexpired(store, name, newest.version);
  // What grows inherits the time, so it would be deleted with the next sweep.
  if (grows && newest?.version === onto) requireTime(newest, deps.now());
  // What grows stays as it is: sealed with the same key, and over at the same time.
  const inherited = grows && originals === undefined ? newest : null;
  const sealed = inherited?.shards.at(-1)?.documents.sealed ?? sealingOf(originals, store);
  const expiry =
    inherited === null
      ? expiryOf(originals, deps.now())
      : inherited.expiresAt !== undefined && { expiresAt: inherited.expiresAt };
  // Shards that are gone, or that are sealed otherwise, are not taken over: they are written again.
  const isThere = grows || (newest !== null && !isExpired && (await isWhole(store, newest)));
  const takesOver =
    grows || newest?.shards.every(({ documents }) => documents.sealed === sealed) === true;
  const from = { baseDir, projectDir: projectDir ?? deps.projectDir, run };
  const opened = await openAll(deps, sources, from, at);
  const before = newest && isThere ? await openBefore(store, newest, takesOver) : null;
  const taking = { sample, before, grows, takesOver, sealed };
  const counts = new Map<string, PartCounts>();
  const shards = new ShardWriter({
    store,
    sealed,
    pack,
    onWritten: async (documents, found) => {
      const kept = await describer.keep(documents, found);
      if (counts.size < mostCounts) counts.set(documents.sha256, kept);
    },
  });
  const reading = readAll(store, opened, shards, taking, at);
  await Promise.allSettled([reading]);
  // Nothing is written any more once this has failed.
  await shards.settled();
  const { numFound, ...read } = await reading;
  const { numDocuments, bytes } = read;
  if (numDocuments === 0 && numFound > 0) throw nothingSampled(sample, numFound);
  if (numFound === 0) throw nothingReadable(opened, read.dropped);
  const made = {
    schemaVersion: 1 as const,
    name,
    digest: stageDigest({
      sources: read.sources,
      shards: read.shards,
      ...(sample < 1 && { sample }),
    }),
    ...read,
    ...(await describer.describe(read.shards, counts)),
    ...expiry,
  };
  if (onto === 0 && newest !== null && newest.digest !== made.digest) throw nameTaken(name);
  // A sample is part of a digest, and not of a manifest: what brings nothing new is the version that it was.
  const isSame = onto !== undefined && newest !== null && numDocuments === newest.numDocuments;
  const registered = isSame
    ? newest
    : await registerDatasetAfter(store, made, newest?.version ?? 0);
  if (registered === null) return null;
  const { version, digest } = registered;
  await untilSwept(store);
  await requireWhole(store, name, version);
  return {
    dataset: { name, version, digest },
    numDocuments,
    ...(sample < 1 && { sampledFrom: numFound }),
    bytes,
    dropped: read.dropped,
    reused: version <= (onto ?? newest?.version ?? 0),
    ...(onto !== undefined && { growth: await growthOf(store, registered, onto, numFound) }),
  };
}

/**
 * Waits for the end of a sweep, which most often leaves what was just registered: to read it all again takes longer. One that
 * was cut short and is not taken up leaves the next attempts to wait for that of the next day.
 */
async function untilSwept(store: Store): Promise<void> {
  const context = Context.current();
  for (let numWaits = 0; numWaits < mostWaits; numWaits += 1) {
    if ((await sweepState(store)) !== 'underway') return;
    if (numWaits === 0) context.log.info('waiting for a sweep of documents to end');
    await context.sleep(waitMs);
  }
}

/** Beside the version that whoever asked had seen: that of the attempt before may be the newest by now. */
async function growthOf(
  store: Store,
  { name, shards, numDocuments }: DatasetManifest,
  onto: number,
  numFound: number,
): Promise<DatasetGrowth> {
  const before = onto === 0 ? null : await getDataset(store, name, onto);
  const known = new Set(before?.shards.map(({ documents }) => documents.sha256));
  const reused = shards.filter(({ documents }) => known.has(documents.sha256));
  const bytesOf = (some: DatasetManifest['shards']): number =>
    some.reduce((sum, { documents }) => sum + documents.bytes, 0);
  const numNew = Math.max(0, numDocuments - (before?.numDocuments ?? 0));
  return {
    from: before?.version ?? null,
    numNew,
    numKnown: Math.max(0, numFound - numNew),
    numShards: shards.length,
    numShardsReused: reused.length,
    bytesReused: bytesOf(reused),
    bytesWritten: bytesOf(shards) - bytesOf(reused),
  };
}

async function keepForRun(store: Store, run: string, ingested: IngestResult): Promise<void> {
  // A schedule looks before there is a run: then the run is given what was read.
  const spec = await getRunRecord(store, run, 'spec', z.unknown());
  if (spec !== null) await addRunInputs(store, run, { ingested });
}

async function requireDataset(store: Store, reference: string): Promise<DatasetManifest> {
  const [name = '', number] = reference.split('@');
  const found =
    number === undefined
      ? await latestDataset(store, name)
      : await getDataset(store, name, Number(number));
  if (found !== null) return found;
  const newest = await latestDataset(store, name);
  throw new CorpusError(
    newest === null
      ? `data.dataset: found no dataset "${name}", expected one that is registered (npx temper datasets list). Make it: npx temper datasets add ${name} ./docs --license internal.`
      : `data.dataset: found no ${reference}, expected a version up to ${newest.version}. npx temper datasets show ${name} lists them.`,
  );
}

/** How far the work is, as its heartbeats say it. */
interface Progress {
  kind: 'sources' | 'files';
  done: number;
  total: number;
}

const beatMs = 2000;

/**
 * Heartbeats from the beginning to the end: a host may ask to wait, a list may be long, and one part of a file may take a
 * parser longer than a heartbeat may. Each has a bound of its own.
 */
async function whileBeating<Result>(work: (at: Progress) => Promise<Result>): Promise<Result> {
  const context = Context.current();
  const at: Progress = { kind: 'sources', done: 0, total: 0 };
  const beating = setInterval(() => context.heartbeat({ ...at }), beatMs);
  try {
    return await work(at);
  } finally {
    clearInterval(beating);
  }
}

/** The sources, by their names. */
async function openAll(
  deps: Deps,
  sources: readonly Source[],
  from: { baseDir: string; projectDir: string; run: string },
  at: Progress,
): Promise<OpenSource[]> {
  const opened: OpenSource[] = [];
  at.total = sources.length;
  for (const source of sources) {
    await progress(at.kind, at.done, at.total);
    opened.push(await openAny(deps, source, from));
    at.done += 1;
  }
  return opened.toSorted((a, b) => byCodeUnits(a.name, b.name));
}

/** Opens a source where it is: on this machine, in S3 or on the web. */
async function openAny(
  deps: Deps,
  source: Source,
  from: { baseDir: string; projectDir: string; run: string },
): Promise<OpenSource> {
  if (!('s3' in source) && !('url' in source)) return openSource(source, from);
  const cache = path.join(deps.home, 'cache', 'url' in source ? 'web' : 's3');
  const { license, textField, include } = source;
  const shared = { name: sourceName(source), license, textField, root: '', single: false };
  const signal = Context.current().cancellationSignal;
  const files =
    'url' in source
      ? await webFiles(source.url, include, { cache, run: from.run, signal, ...deps.web })
      : await s3Files(bucketOf(deps, source.s3), source.s3, include, { cache, signal });
  if (files.length === 0) {
    throw new CorpusError(
      `data.sources: found nothing at ${shared.name} that matches include "${include}". Correct the address or the glob.`,
    );
  }
  return { ...shared, files };
}

function bucketOf(deps: Deps, place: string): Store {
  if (deps.openBucket === undefined) {
    throw new CorpusError('data.sources: s3 cannot be read by this worker. Give a folder instead.');
  }
  return deps.openBucket(s3Place(place).bucket);
}

/** What is known of the version before; null where nothing of it is taken over, and its key is gone. */
async function openBefore(
  store: Store,
  newest: DatasetManifest,
  takesOver: boolean,
): Promise<VersionBefore | null> {
  try {
    return await VersionBefore.open(store, newest);
  } catch (error) {
    if (takesOver || !(error instanceof DataKeyMissing || error instanceof SealBroken)) throw error;
    return null;
  }
}

type Contents = Omit<DatasetManifest, 'schemaVersion' | 'name' | 'version' | 'digest'>;

/** How documents are taken. `grows`: all of the version before stays, and what is read is added. */
interface Taking {
  sample: number;
  before: VersionBefore | null;
  grows: boolean;
  /** Its shards stay as they are; else all that is read is written, each document as old as it was. */
  takesOver: boolean;
  /** Id of the data key that seals the documents; undefined: they stay plain. */
  sealed: string | undefined;
}

async function readAll(
  store: Store,
  opened: readonly OpenSource[],
  shards: ShardWriter,
  { sample, before, grows, takesOver, sealed }: Taking,
  at: Progress,
): Promise<Contents & { numFound: number }> {
  const old = grows ? before : null;
  const contents: Contents = {
    sources: [],
    shards: [],
    numDocuments: 0,
    bytes: 0,
    dropped: {},
    droppedDocuments: null,
  };
  const dropped: DroppedDocument[] = [];
  // By where it lies: what could not be read then, and is read now, is dropped no more.
  const droppedBefore = new Map<string, DroppedDocument>();
  for (const one of await droppedOf(store, old)) droppedBefore.set(one.source, one);
  const next = (before?.manifest.version ?? 0) + 1;
  let numFound = 0;
  contents.sources = old?.manifest.sources.map((source) => ({ ...source })) ?? [];
  for (const source of opened) {
    const { name, license } = source;
    const known =
      old && contents.sources.find((one) => one.name === name && one.license === license);
    const total = known ?? { name, license, numDocuments: 0, bytes: 0 };
    if (known == null) contents.sources.push(total);
    Object.assign(at, { kind: 'files', done: 0, total: source.files.length });
    const items = readSource(source, (done) => (at.done = done));
    for await (const item of withoutNames(items, source, at, store.dataKeys)) {
      await progress(at.kind, at.done, at.total);
      if ('document' in item) numFound += 1;
      if (!isTaken(item, sample)) continue;
      if ('dropped' in item) {
        dropped.push(item.dropped);
        continue;
      }
      const { document } = item;
      const [file = ''] = document.source.split('#');
      for (const place of [document.source, file]) droppedBefore.delete(place);
      const met = before?.meet(document) ?? null;
      if (grows && met !== null) continue;
      const bytes = Buffer.byteLength(document.text);
      total.numDocuments += 1;
      total.bytes += bytes;
      if (met === null) await shards.add(document, bytes, next);
      else if (met.known === 'changed' || !takesOver) await shards.add(document, bytes, met.since);
    }
  }
  const kept = grows ? before?.manifest.shards : takesOver && (await before?.shardsMet(store));
  contents.shards = [...(kept || []), ...(await shards.finish())].toSorted(
    (a, b) => (a.since ?? 1) - (b.since ?? 1),
  );
  contents.sources = contents.sources.toSorted((a, b) => byCodeUnits(a.name, b.name));
  for (const { numDocuments, bytes } of contents.sources) {
    contents.numDocuments += numDocuments;
    contents.bytes += bytes;
  }
  for (const { source } of dropped) droppedBefore.delete(source);
  dropped.unshift(...droppedBefore.values());
  for (const { reason } of dropped) contents.dropped[reason] = (contents.dropped[reason] ?? 0) + 1;
  if (dropped.length > 0) contents.droppedDocuments = await putReadLines(store, dropped, sealed);
  return { ...contents, numFound };
}

async function droppedOf(store: Store, before: VersionBefore | null): Promise<DroppedDocument[]> {
  const list = before?.manifest.droppedDocuments ?? null;
  return list === null ? [] : ((await readJsonLines(store, list)) as DroppedDocument[]);
}

function nameTaken(name: string): CorpusError {
  return new CorpusError(
    `dataset ${name} exists. To add documents to it: npx temper datasets append ${name} PATH. Or choose another name. Nothing was registered.`,
  );
}

function nothingToGrow(name: string): CorpusError {
  return new CorpusError(
    `dataset: found no "${name}" any more. Make it anew: npx temper datasets add ${name} PATH --license internal. Nothing was registered.`,
  );
}

function nothingSampled(sample: number, numFound: number): CorpusError {
  return new CorpusError(sayNothingSampled(sample, numFound));
}

function nothingReadable(
  opened: readonly OpenSource[],
  dropped: Readonly<Record<string, number>>,
): CorpusError {
  const numFiles = opened.reduce((sum, { files }) => sum + files.length, 0);
  const names = opened.map(({ name }) => name);
  return new CorpusError(sayNothingReadable({ numFiles, names }, dropped));
}
