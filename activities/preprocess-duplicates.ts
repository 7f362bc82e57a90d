/** Brings the fingerprints of all shards together: who is kept, who is dropped and why, and the counts of it all. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { usualNear, type Near } from '../config/deduplication.ts';
import type { BlobRef } from '../config/digest.ts';
import { tooFewKept } from '../config/dropped.ts';
import { Join, refuseIfTooMany, type Candidates, type Found } from '../corpus/duplicates.ts';
import { CorpusError } from '../corpus/errors.ts';
import { hashesOf } from '../corpus/minhash.ts';
import { nameAt, Names, type PackedNames } from '../corpus/names.ts';
import { contentLength, readPrints } from '../corpus/prints.ts';
import { Tally } from '../corpus/statistics.ts';
import { bytesOf, wordsIn, placeIn } from '../corpus/words-and-bytes.ts';
import { decodeJsonLines, putBlob, putBlobFile, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inTurn } from './preprocess-in-turn.ts';
import { compareDropped, droppedKey } from './preprocess-join-thread.ts';
import { inParallel } from './preprocess-parallel.ts';
import type {
  CleanShard,
  Deduplicated,
  FingerprintLine,
  ResolvedBucket,
} from './preprocess-records.ts';
import { alikeInBuckets, markCandidates, type Marked } from './preprocess-shuffle.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { SortedLines } from './preprocess-sorted-lines.ts';
import { withWorkDir } from './work-dir.ts';

/** Duplicates of each reason whose text is kept too, so that a person can judge what was dropped. */
const numSamples = 5;

/** A cleaned shard, and the version of the dataset in which its documents first came; left out: the first. */
export type DatedShard = CleanShard & { since?: number };

/** All shards, with the number of each one's first document, and of the one behind the last. */
interface Shards {
  cleaned: readonly DatedShard[];
  firsts: Uint32Array;
  fingerprints: (shard: number) => Promise<Uint8Array>;
}

/** Brings all fingerprints together in one place; for corpora whose fingerprints fit there. */
export async function mergeFingerprints(
  deps: Deps,
  threads: ThreadPool,
  cleaned: readonly DatedShard[],
  near = usualNear,
): Promise<Deduplicated> {
  let done = 0;
  const fingerprints = await inParallel(cleaned, async (shard) => {
    const bytes = await readBlob(deps.store, shard.fingerprints);
    await progress('fingerprints', (done += 1), cleaned.length);
    return bytes;
  });
  const since = cleaned.map(({ since = 1 }) => since);
  const found = await threads.run(
    'duplicates',
    { fingerprints, since, near },
    beatsOf('fingerprints'),
  );
  const known = async (shard: number): Promise<Uint8Array> => fingerprints[shard]!;
  return conclude(
    deps,
    threads,
    { cleaned, firsts: firstsOf(cleaned), fingerprints: known },
    found,
  );
}

/** Joins what the buckets found; only the documents that may be duplicates are held in memory. */
export async function joinBuckets(
  deps: Deps,
  threads: ThreadPool,
  cleaned: readonly DatedShard[],
  buckets: readonly ResolvedBucket[],
  near = usualNear,
): Promise<Deduplicated> {
  const shards: Shards = {
    cleaned,
    firsts: firstsOf(cleaned),
    fingerprints: async (shard) => readBlob(deps.store, cleaned[shard]!.fingerprints),
  };
  const { firsts } = shards;
  const { numbers, copies } = await markCandidates(deps.store, buckets, firsts, near);
  refuseIfTooMany(numbers.length);
  const { candidates, named, names } = await pickCandidates(
    threads,
    shards,
    { numbers, copies },
    near,
  );
  const { places } = await threads.run(
    'rank',
    { since: candidates.since, contents: candidates.contents, named, names },
    beatsOf('candidates'),
  );
  const join = new Join(candidates, places);
  const known = { firsts, numbers, places: shared(places), sketches: candidates.sketches, near };
  await alikeInBuckets(deps.store, threads, buckets, known, (pairs) => {
    join.unite(pairs);
  });
  const { numbers: indexes, survivors, exact } = join.found();
  const numberOf = (index: number): number => numbers[index]!;
  const found = { numbers: indexes.map(numberOf), survivors: survivors.map(numberOf), exact };
  return conclude(deps, threads, shards, found);
}

function firstsOf(cleaned: readonly CleanShard[]): Uint32Array {
  const firsts = new Uint32Array(cleaned.length + 1);
  for (const [shard, { kept }] of cleaned.entries()) firsts[shard + 1] = firsts[shard]! + kept;
  return firsts;
}

/** Those of ascending numbers that are of one shard, as positions in it; and how many come before them. */
function inShard(
  numbers: Uint32Array,
  { firsts }: Pick<Shards, 'firsts'>,
  shard: number,
): { positions: Uint32Array; from: number; to: number } {
  const [first, next] = [firsts[shard]!, firsts[shard + 1]!];
  const [from, to] = [placeIn(numbers, first), placeIn(numbers, next)];
  return { positions: numbers.slice(from, to).map((number) => number - first), from, to };
}

/** Memory that all threads see, so that no copy is made for each task. */
function shared<Numbers extends Uint8Array | Uint32Array>(numbers: Numbers): Numbers {
  const kind = numbers.constructor as new (buffer: SharedArrayBuffer) => Numbers;
  const copy = new kind(new SharedArrayBuffer(numbers.byteLength));
  copy.set(numbers);
  return copy;
}

/** What is compared of candidates; the names of those that may have the text of another one. */
async function pickCandidates(
  threads: ThreadPool,
  shards: Shards,
  { numbers, copies }: Marked,
  near: Near,
): Promise<{ candidates: Candidates; named: Uint32Array; names: PackedNames }> {
  const count = numbers.length;
  const numHashes = hashesOf(near);
  const candidates: Candidates = {
    since: new Uint32Array(count),
    contents: new Uint8Array(new SharedArrayBuffer(count * contentLength)),
    sketches: new Uint8Array(new SharedArrayBuffer(count * numHashes)),
  };
  const names = new Names();
  const beat = beatsOf('fingerprints');
  await inTurn(
    shards.cleaned,
    async (_, shard) => {
      const { positions, from, to } = inShard(numbers, shards, shard);
      if (positions.length === 0) return null;
      const fingerprints = await shards.fingerprints(shard);
      const wanted = { fingerprints, positions, named: copies.slice(from, to) };
      return { from, to, picked: await threads.run('pick', wanted, beat) };
    },
    async (found, shard) => {
      if (found !== null) {
        const { from, to, picked } = found;
        candidates.since.fill(shards.cleaned[shard]!.since ?? 1, from, to);
        candidates.contents.set(picked.contents, from * contentLength);
        candidates.sketches.set(picked.sketches, from * numHashes);
        names.append(picked.names);
      }
      await progress('fingerprints', shard + 1, shards.cleaned.length);
    },
  );
  const named = new Uint32Array(copies.reduce((sum, copy) => sum + copy, 0));
  let at = 0;
  for (const [index, copy] of copies.entries()) if (copy === 1) named[at++] = index;
  return { candidates, named, names: names.packed() };
}

/** The names of survivors, by number. */
async function namesOfSurvivors(
  threads: ThreadPool,
  shards: Shards,
  { survivors }: Found,
): Promise<{ numbers: Uint32Array; names: PackedNames }> {
  const sorted = survivors.slice().sort();
  const numbers = sorted.filter((number, at) => number !== sorted[at - 1]);
  const names = new Names();
  const beat = beatsOf('survivors');
  await inTurn(
    shards.cleaned,
    async (_, shard) => {
      const { positions } = inShard(numbers, shards, shard);
      if (positions.length === 0) return null;
      const fingerprints = await shards.fingerprints(shard);
      return (await threads.run('names', { fingerprints, positions }, beat)).names;
    },
    async (found, shard) => {
      if (found !== null) names.append(found);
      await progress('survivors', shard + 1, shards.cleaned.length);
    },
  );
  return { numbers, names: names.packed() };
}

/** How the first duplicates of each reason begin: by shard, with their positions. */
async function samplesOf(
  store: Store,
  threads: ThreadPool,
  shards: Shards,
  { numbers, exact }: Found,
): Promise<Map<number, [position: number, sample: string][]>> {
  const chosen: number[] = [];
  for (const kind of [0, 1]) {
    let at = exact.indexOf(kind);
    for (let taken = 0; at >= 0 && taken < numSamples; taken += 1) {
      chosen.push(at);
      at = exact.indexOf(kind, at + 1);
    }
  }
  const wanted = Uint32Array.from(chosen, (at) => numbers[at]!).sort();
  const samples = new Map<number, [number, string][]>();
  for (const [shard, { documents }] of shards.cleaned.entries()) {
    const positions = [...inShard(wanted, shards, shard).positions];
    if (positions.length === 0) continue;
    const asked = { documents: await readBlob(store, documents), positions };
    const { samples: texts } = await threads.run('samples', asked, beatsOf('samples'));
    samples.set(
      shard,
      positions.map((position, at) => [position, texts[at]!]),
    );
    await progress('samples', shard + 1, shards.cleaned.length);
  }
  return samples;
}

/** The counts and lists that follow from the duplicates, which go by the number of the document in the corpus. */
async function conclude(
  deps: Deps,
  threads: ThreadPool,
  shards: Shards,
  found: Found,
): Promise<Deduplicated> {
  const { store } = deps;
  const { cleaned } = shards;
  const redacted: Record<string, number> = {};
  const steps: Record<string, number> = {};
  for (const shard of cleaned) {
    addCounts(redacted, shard.redacted);
    addCounts(steps, shard.cleaned ?? {});
  }
  const survivors = await namesOfSurvivors(threads, shards, found);
  const samples = await samplesOf(store, threads, shards, found);
  const reasons: Record<string, number> = {};
  const scripts: Record<string, number> = {};
  const tally = new Tally();
  let bytes = 0;
  let characters = 0;
  const beat = beatsOf('documents');
  const dropped = await withWorkDir(deps, async (folder) => {
    const lines = new SortedLines(folder, {
      sort: async (some) => (await threads.run('sortDropped', { lines: some }, beat)).lines,
      keyOf: droppedKey,
      compare: compareDropped,
    });
    await inTurn(
      cleaned,
      async (shard, number) => {
        const { positions: gone, from, to } = inShard(found.numbers, shards, number);
        const [fingerprints, refused] = await Promise.all([
          shards.fingerprints(number),
          readBlob(store, shard.dropped),
        ]);
        const asked = {
          fingerprints,
          dropped: refused,
          gone,
          exact: found.exact.slice(from, to),
          survivors: Array.from(found.survivors.subarray(from, to), (survivor) =>
            nameAt(survivors.names, placeIn(survivors.numbers, survivor)),
          ),
          samples: samples.get(number) ?? [],
        };
        return await threads.run('conclude', asked, beat);
      },
      async (counted, number) => {
        bytes += counted.bytes;
        characters += counted.characters;
        addCounts(scripts, counted.scripts);
        addCounts(reasons, counted.reasons);
        tally.addPart(counted.part);
        await lines.add(counted.dropped);
        await progress('documents', number + 1, cleaned.length);
      },
    );
    const file = path.join(folder, 'dropped');
    await lines.write(file, async () => progress('dropped', 0, 0));
    // What was dropped of a sealed shard stays sealed among that of others.
    const sealed = cleaned.find((shard) => shard.dropped.sealed !== undefined)?.dropped.sealed;
    return sealed === undefined
      ? await putBlobFile(store, file)
      : await putBlob(store, await readFile(file), sealed);
  });
  const since = cleaned.map((shard) => shard.since ?? 1);
  const numKept = shards.firsts.at(-1)! - found.numbers.length;
  return {
    schemaVersion: 1,
    of: cleaned.flatMap(({ of }) => of ?? []),
    shards: cleaned.map(({ documents }) => documents),
    fingerprints: cleaned.map(({ fingerprints }) => fingerprints),
    ...(since.some((version) => version > 1) && { since }),
    duplicates: await putDuplicates(store, shards, found),
    dropped,
    statistics: {
      numDocuments: cleaned.reduce((sum, { numDocuments }) => sum + numDocuments, 0),
      kept: numKept,
      dropped: reasons,
      redacted,
      ...(cleaned.some((shard) => shard.cleaned !== undefined) && { cleaned: steps }),
      bytes,
      characters,
      scripts,
      distributions: await tally.summary((kind) => async (add) => {
        await eachKept(shards, found, ({ traits }) => {
          const name = traits[kind === 'domains' ? 'domain' : 'license'];
          if (name !== undefined) add(name, 1);
        });
      }),
    },
  };
}

function addCounts(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}

/** The lines of all documents that are kept, shard by shard. */
async function eachKept(
  shards: Shards,
  { numbers }: Found,
  use: (line: FingerprintLine) => void,
): Promise<void> {
  await inTurn(
    shards.cleaned,
    async (_, shard) => readPrints(await shards.fingerprints(shard)).lines,
    async (packed, shard) => {
      const gone = new Set(inShard(numbers, shards, shard).positions);
      for (const [position, line] of (await decodeJsonLines(packed)).entries())
        if (!gone.has(position)) use(line as FingerprintLine);
      await progress('names', shard + 1, shards.cleaned.length);
    },
  );
}

/** How many duplicates each shard has, then their positions, shard by shard. */
async function putDuplicates(store: Store, shards: Shards, { numbers }: Found): Promise<BlobRef> {
  const numShards = shards.cleaned.length;
  const words = new Uint32Array(numShards + numbers.length);
  for (let shard = 0; shard < numShards; shard += 1) {
    const { positions, from } = inShard(numbers, shards, shard);
    words[shard] = positions.length;
    words.set(positions, numShards + from);
  }
  return putBlob(store, bytesOf(words));
}

/** The positions of the duplicates of each shard, ascending. */
export async function readDuplicates(
  store: Store,
  { duplicates, shards }: Deduplicated & { duplicates: BlobRef },
): Promise<(shard: number) => Uint32Array> {
  const words = wordsIn(await readBlob(store, duplicates));
  const ends = new Uint32Array(shards.length + 1);
  for (let shard = 0; shard < shards.length; shard += 1)
    ends[shard + 1] = ends[shard]! + words[shard]!;
  const positions = words.subarray(shards.length);
  return (shard) => positions.slice(ends[shard]!, ends[shard + 1]!);
}

/** Throws where what is left cannot be what the operator meant; `unread` is what ingest could not read, by reason. */
export function refuseIfTooFew(
  { numDocuments, kept, dropped }: Deduplicated['statistics'],
  unread: Readonly<Record<string, number>>,
  maxDropped: number,
): void {
  const fault = tooFewKept({ numDocuments, kept, dropped, unread }, maxDropped);
  if (fault !== null) throw new CorpusError(fault.message);
}
