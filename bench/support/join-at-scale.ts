/**
 * What the steps that bring all shards together cost for many short documents: memory for each, and time. The fingerprints are
 * drawn, not computed, and the store is a folder, so that nothing else is measured.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { Deps } from '../../activities/deps.ts';
import { joinBuckets, mergeFingerprints } from '../../activities/preprocess-duplicates.ts';
import { inParallel } from '../../activities/preprocess-parallel.ts';
import type { CleanShard, Deduplicated } from '../../activities/preprocess-records.ts';
import { resolveRecords, scatterShards, shuffleFor } from '../../activities/preprocess-shuffle.ts';
import { splitDocuments } from '../../activities/preprocess-split.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { canonicalJson } from '../../config/digest.ts';
import { seeded } from '../../client/cli/chaos-schedule.ts';
import { numBands, numHashes } from '../../corpus/minhash.ts';
import { bandWords, contentLength, packPrints } from '../../corpus/prints.ts';
import { node, projectDir, python } from '../../infra/layout.ts';
import { compressLines, putBlob, putJsonLines } from '../../registry/blobs.ts';
import type { Store } from '../../registry/store.ts';
import { say, type Measured } from './bench.ts';

/** Characters of a document, and documents of a shard. */
const documentBytes = 400;
const perShard = 1750;
/** Shares of copies, and of near duplicates. */
const copied = 0.1;
const nearby = 0.2;

interface Joined {
  documents: number;
  shuffled: boolean;
  duplicates: number;
  searchS: number;
  joinS: number;
  splitS: number;
  joinPeakBytes: number;
  splitPeakBytes: number;
  baseBytes: number;
}

/** Two numbers of documents, the second four times the first: what each costs is the slope between them. */
export async function byDocuments(
  home: string,
  { megabytes }: { megabytes: number },
): Promise<Measured> {
  const runs: Joined[] = [];
  const most = Math.round((megabytes * 1e6) / documentBytes);
  for (const documents of [Math.round(most / 4), most]) {
    const folder = path.join(home, 'folder');
    mkdirSync(folder, { recursive: true });
    runs.push(await joined(folder, documents));
    rmSync(folder, { recursive: true, force: true });
    const { joinPeakBytes, splitPeakBytes, searchS, joinS, splitS } = runs.at(-1)!;
    say(
      `${documents} documents: search ${searchS.toFixed(1)} s, join ${joinS.toFixed(1)} s, split ${splitS.toFixed(1)} s, ` +
        `peak ${mb(joinPeakBytes)} and ${mb(splitPeakBytes)} MB`,
    );
  }
  const [few, many] = [runs[0]!, runs[1]!];
  const each = (of: (run: Joined) => number): number =>
    (of(many) - of(few)) / (many.documents - few.documents);
  const peak = Math.max(many.joinPeakBytes, many.splitPeakBytes);
  return {
    figures: {
      runs,
      // Above what stood before: the second run begins with what the first has left.
      joinBytesADocument: each(({ joinPeakBytes, baseBytes }) => joinPeakBytes - baseBytes),
    },
    bounds: [{ name: 'peak memory, GB', value: peak / 1e9, max: 1 }],
  };
}

const mb = (bytes: number): string => (bytes / 1e6).toFixed(0);

async function joined(folder: string, numDocuments: number): Promise<Joined> {
  const store = folderStore(path.join(folder, 'store'));
  const home = path.join(folder, 'home');
  const deps: Deps = { store, home, python, projectDir, host: 'bench', now: () => new Date(0) };
  const threads = new ThreadPool(2);
  const work = async (): Promise<Joined> => {
    const cleaned = await drawnElsewhere(path.join(folder, 'store'), numDocuments);
    const baseBytes = resetPeak();
    const search = await timed(async () => {
      const shuffle = shuffleFor(cleaned.map(({ kept }) => ({ numDocuments: kept })));
      if (shuffle === null) return null;
      const { groupSize, numBuckets } = shuffle;
      const groups = await inParallel(
        [...Array(Math.ceil(cleaned.length / groupSize)).keys()],
        async (group) => {
          const from = group * groupSize;
          const some = cleaned.slice(from, from + groupSize);
          return scatterShards(store, threads, some, from, numBuckets);
        },
        3,
      );
      return inParallel(
        [...Array(numBuckets).keys()],
        async (bucket) => {
          const parts = groups.map(({ buckets }) => buckets[bucket]!);
          return resolveRecords(store, threads, parts);
        },
        3,
      );
    });
    const buckets = search.result;
    resetPeak();
    const join = await timed(async (): Promise<Deduplicated> =>
      buckets === null
        ? mergeFingerprints(deps, threads, cleaned)
        : joinBuckets(deps, threads, cleaned, buckets),
    );
    const joinPeakBytes = peakNow();
    resetPeak();
    const split = await timed(async () =>
      splitDocuments(deps, threads, join.result, {
        duplicates: '0'.repeat(64),
        heldOut: 0.005,
        questions: [],
        seed: 1,
      }),
    );
    const splitPeakBytes = peakNow();
    const { kept, numDocuments: all } = join.result.statistics;
    return {
      documents: all,
      shuffled: buckets !== null,
      duplicates: all - kept,
      searchS: search.seconds,
      joinS: join.seconds,
      splitS: split.seconds,
      joinPeakBytes,
      splitPeakBytes,
      baseBytes,
    };
  };
  try {
    const logger = new DefaultLogger('ERROR');
    return (await new MockActivityEnvironment(undefined, { logger }).run(work)) as Joined;
  } finally {
    await threads.close();
  }
}

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number }> {
  const began = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - began) / 1000 };
}

/** What the process takes now; its peak is counted from here on. */
function resetPeak(): number {
  writeFileSync('/proc/self/clear_refs', '5');
  return peakNow();
}

function peakNow(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** In a process of its own, so that nothing of it stays in memory. */
async function drawnElsewhere(folder: string, numDocuments: number): Promise<CleanShard[]> {
  const { stdout } = await execa(node, [import.meta.filename, folder, String(numDocuments)]);
  return JSON.parse(stdout) as CleanShard[];
}

if (process.argv[1] === import.meta.filename) {
  const [folder, numDocuments] = process.argv.slice(2);
  const drawn = await drawShards(folderStore(folder!), Number(numDocuments));
  process.stdout.write(JSON.stringify(drawn));
}

/** Shards as cleaning leaves them, of documents of which some are copies of others, or near to them. */
async function drawShards(store: Store, numDocuments: number): Promise<CleanShard[]> {
  const random = seeded(1);
  const word = (): number => Math.floor(random() * 2 ** 32);
  const none = await putJsonLines(store, []);
  const shards: CleanShard[] = [];
  for (let first = 0; first < numDocuments; first += perShard) {
    const count = Math.min(perShard, numDocuments - first);
    const prints = {
      numDocuments: count,
      contents: new Uint8Array(count * contentLength),
      bands: new Uint32Array(count * bandWords),
      sketches: new Uint8Array(count * numHashes),
    };
    const documents: string[] = [];
    const lines: string[] = [];
    for (let at = 0; at < count; at += 1) {
      const number = first + at;
      const kind = random();
      // Of a document drawn by its number alone, so that it can be drawn again elsewhere.
      const other = Math.floor(random() * number);
      const origin = kind < copied + nearby && number > 0 ? other : number;
      drawPrint(prints, at, origin, kind < copied ? null : number);
      const id = createHash('sha256').update(`${number}`).digest('hex').slice(0, 32);
      const source = `web/pages-${String(number % 97).padStart(4, '0')}.jsonl#${number}`;
      const text = `${number} ${word()} `.padEnd(documentBytes, 'lorem ipsum dolor sit amet ');
      documents.push(`${canonicalJson({ id, metadata: {}, source, text })}\n`);
      const counted = { bytes: documentBytes, characters: documentBytes, id, script: 'latin' };
      lines.push(`${canonicalJson({ ...counted, source, traits: { language: 'en' } })}\n`);
    }
    const packed = await compressLines(Buffer.from(lines.join('')));
    shards.push({
      schemaVersion: 1,
      documents: await putBlob(store, await compressLines(Buffer.from(documents.join('')))),
      fingerprints: await putBlob(store, packPrints({ ...prints, lines: packed })),
      dropped: none,
      numDocuments: count,
      kept: count,
      redacted: {},
    });
  }
  return shards;
}

/** Of a copy all is that of the origin; of what is near to it, most bands and most of the sketch. `own`: null for a copy. */
function drawPrint(
  prints: { contents: Uint8Array; bands: Uint32Array; sketches: Uint8Array },
  at: number,
  origin: number,
  own: number | null,
): void {
  const draw = seeded(origin + 1);
  const mine = seeded((own ?? origin) + 1);
  for (let byte = 0; byte < contentLength; byte += 1)
    prints.contents[at * contentLength + byte] = mine() * 256;
  for (let band = 0; band < numBands; band += 1) {
    const from = band < 10 ? draw : mine;
    for (const half of [0, 1])
      prints.bands[at * bandWords + band * 2 + half] = Math.floor(from() * 2 ** 32);
  }
  for (let byte = 0; byte < numHashes; byte += 1)
    prints.sketches[at * numHashes + byte] = (byte < 100 ? draw : mine)() * 256;
}

/** Blobs as files. */
function folderStore(folder: string): Store {
  const fileOf = (key: string): string => path.join(folder, key.replaceAll('/', '-'));
  mkdirSync(folder, { recursive: true });
  const never = async (): Promise<never> => {
    throw new Error('a folder of blobs knows nothing of that');
  };
  return {
    place: folder,
    bucket: 'bench',
    async get(key) {
      const file = fileOf(key);
      return existsSync(file) ? { bytes: readFileSync(file), etag: '' } : null;
    },
    async size(key) {
      const file = fileOf(key);
      return existsSync(file) ? readFileSync(file).length : null;
    },
    async putIfAbsent(key, bytes) {
      writeFileSync(fileOf(key), bytes);
      return true;
    },
    async putFileIfAbsent(key, file) {
      writeFileSync(fileOf(key), readFileSync(file));
      return true;
    },
    replace: never,
    download: never,
    // oxlint-disable-next-line require-yield
    async *list() {
      await never();
    },
    remove: never,
    abandonUploads: async () => 0,
    ensureBucket: async () => {},
    probe: async () => {},
    close: () => {},
  };
}
