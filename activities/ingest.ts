/** Ingest: the sources of the pipeline file become a registered dataset version of content-hashed shards. */
import { Context } from '@temporalio/activity';
import path from 'node:path';
import { z } from 'zod';
import type { IngestResult } from '../config/ingest.ts';
import {
  datasetManifestSchema,
  type Document,
  type DroppedDocument,
  type DatasetManifest,
} from '../config/manifests.ts';
import { sourceName, sourceSchema, type Source } from '../config/pipeline.ts';
import { runSpecSchema } from '../config/run-records.ts';
import { Chunker } from '../corpus/chunk.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits, hashShare } from '../corpus/order.ts';
import { openSource, readSource, type OpenSource, type SourceItem } from '../corpus/sources.ts';
import { putJsonLines } from '../registry/blobs.ts';
import { latestDataset, registerDataset } from '../registry/datasets.ts';
import { addRunInputs, getRunRecord } from '../registry/runs.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { createShardDescriber } from './describe-shards.ts';
import { s3Files, s3Place } from './s3-source.ts';
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
  /** Absolute folder that relative paths start from. */
  baseDir: string;
  /** Folder whose `node_modules` holds the packages; left out, Temper's own. */
  projectDir?: string;
}

const inputSchema = z.strictObject({
  run: z.string(),
  name: datasetManifestSchema.shape.name,
  sources: z.array(sourceSchema).min(1),
  sample: z.number().positive().max(1).optional(),
  baseDir: z.string(),
  projectDir: z.string().optional(),
});

export function createIngestActivities(deps: Deps) {
  const describer = createShardDescriber(deps);
  return {
    async ingestCorpus(input: IngestInput): Promise<IngestResult> {
      const {
        run,
        name,
        sources,
        sample = 1,
        baseDir,
        projectDir,
      } = parseInput(inputSchema, input);
      return withFailures(async () => {
        const from = { baseDir, projectDir: projectDir ?? deps.projectDir, run };
        const { opened, numFound, ...read } = await whileBeating(async (at) => {
          const found = await openAll(deps, sources, from, at);
          return { opened: found, ...(await readAll(deps, found, sample, at)) };
        });
        const { numDocuments, bytes } = read;
        if (numDocuments === 0 && numFound > 0) throw nothingSampled(sample, numFound);
        if (numDocuments === 0) throw nothingReadable(opened, read.dropped);
        const before = await latestDataset(deps.store, name);
        const { version, digest } = await registerDataset(deps.store, {
          schemaVersion: 1,
          name,
          digest: stageDigest({
            sources: read.sources,
            shards: read.shards,
            ...(sample < 1 && { sample }),
          }),
          ...read,
          ...(await whileBeating(async () => describer.describe(read.shards))),
        });
        const ingested: IngestResult = {
          dataset: { name, version, digest },
          numDocuments,
          ...(sample < 1 && { sampledFrom: numFound }),
          bytes,
          dropped: read.dropped,
          reused: version <= (before?.version ?? 0),
        };
        // A schedule looks before there is a run: then the run is given what was read.
        const spec = await getRunRecord(deps.store, run, 'spec', runSpecSchema).catch(() => null);
        if (spec !== null) await addRunInputs(deps.store, run, { ingested });
        return ingested;
      });
    },
  };
}
export type IngestActivities = ReturnType<typeof createIngestActivities>;

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

type Contents = Omit<DatasetManifest, 'schemaVersion' | 'name' | 'version' | 'digest'>;

async function readAll(
  { store }: Deps,
  opened: readonly OpenSource[],
  sample: number,
  at: Progress,
): Promise<Contents & { numFound: number }> {
  const contents: Contents = {
    sources: [],
    shards: [],
    numDocuments: 0,
    bytes: 0,
    dropped: {},
    droppedDocuments: null,
  };
  const dropped: DroppedDocument[] = [];
  const chunker = new Chunker();
  let shard: Document[] = [];
  let numFound = 0;
  const endShard = async (): Promise<void> => {
    if (shard.length === 0) return;
    contents.shards.push({
      documents: await putJsonLines(store, shard),
      numDocuments: shard.length,
    });
    shard = [];
  };
  for (const source of opened) {
    const { name, license } = source;
    const total = { name, license, numDocuments: 0, bytes: 0 };
    Object.assign(at, { kind: 'files', done: 0, total: source.files.length });
    for await (const item of readSource(source, (done) => (at.done = done))) {
      await progress(at.kind, at.done, at.total);
      if ('document' in item) numFound += 1;
      if (!isTaken(item, sample)) continue;
      if ('dropped' in item) {
        const { reason } = item.dropped;
        dropped.push(item.dropped);
        contents.dropped[reason] = (contents.dropped[reason] ?? 0) + 1;
        continue;
      }
      const bytes = Buffer.byteLength(item.document.text);
      total.numDocuments += 1;
      total.bytes += bytes;
      shard.push(item.document);
      if (chunker.endsAfter({ id: item.document.id, bytes })) await endShard();
    }
    contents.sources.push(total);
    contents.numDocuments += total.numDocuments;
    contents.bytes += total.bytes;
  }
  await endShard();
  if (dropped.length > 0) contents.droppedDocuments = await putJsonLines(store, dropped);
  return { ...contents, numFound };
}

/** By a hash of the text, so that the order of the files does not matter; what cannot be read is sampled alike. */
function isTaken(item: SourceItem, sample: number): boolean {
  const { id } = 'document' in item ? item.document : item.dropped;
  return sample >= 1 || hashShare('sample', id) < sample;
}

function nothingSampled(sample: number, numFound: number): CorpusError {
  return new CorpusError(
    `data.sample: ${Number((sample * 100).toPrecision(4))}% of ${numFound} documents takes none. Raise it, or leave it out to take all.`,
  );
}

function nothingReadable(
  opened: readonly OpenSource[],
  dropped: Readonly<Record<string, number>>,
): CorpusError {
  const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
  const numFiles = opened.reduce((sum, { files }) => sum + files.length, 0);
  return new CorpusError(
    `data.sources: found no readable text in ${numFiles} files of ${opened.map(({ name }) => name).join(', ')} ` +
      `(${reasons.join(', ')}), expected documents, tables, mail or web pages. Correct the sources.`,
  );
}
