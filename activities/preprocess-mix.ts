/**
 * Mixes encoded documents by the weights and repeats of their sources: the tokens of a document come as often as it is
 * read in an epoch, in an order that the seed gives. So the trainer reads shards like any others.
 */
import path from 'node:path';
import { timesRead, type MixedSource } from '../config/mixing.ts';
import type { Mixture } from '../config/mixture.ts';
import { CorpusError } from '../corpus/errors.ts';
import { readingsOf, refuseEmpty } from '../corpus/mixture.ts';
import { tokenWidth } from '../corpus/pack.ts';
import { Words } from '../corpus/words-and-bytes.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Deps } from './deps.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inTurn } from './preprocess-in-turn.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { EncodedShard, Mixed, Split } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { Spill } from './preprocess-spill.ts';
import { withWorkDir } from './work-dir.ts';

/** As many as the text of a training shard makes. */
const shardTokens = 500_000;
const shardsInFlight = 4;

/** All documents, shard after shard: some thirty bytes each. */
interface Documents {
  /** Number of each shard's first document, and of the one behind the last. */
  firsts: Uint32Array;
  sources: Int32Array;
  bytes: Uint32Array;
  /** With the token that ends each. */
  numTokens: Uint32Array;
}

type Size = Mixture['sources'][number]['whole'];

export async function mixSources(
  deps: Deps,
  threads: ThreadPool,
  from: { documents: Split['shards']; encoded: readonly EncodedShard[]; vocabSize: number },
  { sources, seed }: { sources: readonly MixedSource[]; seed: number },
): Promise<Omit<Mixed, 'schemaVersion'>> {
  const { store } = deps;
  const documents = await findDocuments();
  const sizes = sizesOf(documents, sources.length, () => 1);
  const given = sources.map((source, at) => ({ ...source, ...sizes[at]! }));
  refuseEmpty(given);
  const readings = await readingsOfAll(timesRead(given));
  const used = sizesOf(documents, sources.length, (number) => Math.min(1, readings[number]!));
  const epoch = sizesOf(documents, sources.length, (number) => readings[number]!);
  const mixture: Mixture = {
    sources: sources.map(({ name, weight, repeat }, at) => ({
      source: name,
      ...(weight !== undefined && { weight }),
      ...(repeat !== undefined && { repeat }),
      whole: sizes[at]!,
      used: used[at]!,
      epoch: epoch[at]!,
    })),
  };
  const total = epoch.reduce((sum, { numTokens }) => sum + numTokens, 0);
  return { shards: await write(readings, total), mixture };

  async function findDocuments(): Promise<Documents> {
    const names = sources.map(({ name }) => name);
    const firsts = new Uint32Array(from.documents.length + 1);
    for (const [shard, { numDocuments }] of from.documents.entries())
      firsts[shard + 1] = firsts[shard]! + numDocuments;
    const count = firsts.at(-1)!;
    const found: Documents = {
      firsts,
      sources: new Int32Array(count),
      bytes: new Uint32Array(count),
      numTokens: new Uint32Array(count),
    };
    const beat = beatsOf('documents');
    await inTurn(
      from.documents,
      async (shard, number) => {
        const [documents, index] = await Promise.all([
          readBlob(store, shard.documents),
          readBlob(store, from.encoded[number]!.index),
        ]);
        return threads.run('origins', { documents, index, names }, beat);
      },
      async (origins, shard) => {
        if (origins.unknown !== null) {
          throw new CorpusError(
            `data.sources: found a document of ${origins.unknown}, which is in none of the sources that are mixed: ` +
              `${names.join(', ')}. Remove weight and repeat, or name the source that it comes from.`,
          );
        }
        found.sources.set(origins.sources, firsts[shard]!);
        found.bytes.set(origins.bytes, firsts[shard]!);
        found.numTokens.set(origins.numTokens, firsts[shard]!);
        await progress('shards', shard + 1, from.documents.length);
      },
    );
    return found;
  }

  /** How often each document is read, by how often its source is. */
  async function readingsOfAll(times: readonly number[]): Promise<Uint32Array> {
    const readings = Uint32Array.from(documents.sources, (source) => Math.floor(times[source]!));
    const inPart = times.map((time) => !Number.isInteger(time));
    if (!inPart.includes(true)) return readings;
    const { high, low } = await ranksOf(`mix ${seed}`);
    for (const source of inPart.keys()) {
      if (!inPart[source]!) continue;
      const numbers = new Words();
      for (const [number, of] of documents.sources.entries())
        if (of === source) numbers.push(number);
      const pick = (words: Uint32Array): Uint32Array =>
        numbers.all().map((number) => words[number]!);
      const ranked = { numTokens: pick(documents.numTokens), high: pick(high), low: pick(low) };
      const found = readingsOf(ranked, times[source]!);
      for (const [at, number] of numbers.all().entries()) readings[number] = found[at]!;
      await progress('sources', source + 1, sources.length);
    }
    return readings;
  }

  async function ranksOf(salt: string): Promise<{ high: Uint32Array; low: Uint32Array }> {
    const count = documents.numTokens.length;
    const ranks = { high: new Uint32Array(count), low: new Uint32Array(count) };
    const beat = beatsOf('documents');
    await inTurn(
      from.encoded,
      async ({ index }) =>
        threads.run('mixRanks', { index: await readBlob(store, index), salt }, beat),
      async ({ high, low }, shard) => {
        ranks.high.set(high, documents.firsts[shard]!);
        ranks.low.set(low, documents.firsts[shard]!);
        await progress('shards', shard + 1, from.encoded.length);
      },
    );
    return ranks;
  }

  async function write(readings: Uint32Array, total: number): Promise<Mixed['shards']> {
    const width = tokenWidth(from.vocabSize);
    const numBuckets = Math.max(1, Math.ceil(total / shardTokens));
    const beat = beatsOf('shards');
    return withWorkDir(deps, async (folder) => {
      const spill = new Spill(path.join(folder, 'readings'), numBuckets);
      try {
        await inTurn(
          from.encoded,
          async (shard, number) => {
            const [first, next] = [documents.firsts[number]!, documents.firsts[number + 1]!];
            const mine = readings.slice(first, next);
            if (mine.every((times) => times === 0)) return null;
            const [tokens, index] = await Promise.all([
              readBlob(store, shard.tokens),
              readBlob(store, shard.index),
            ]);
            const known = { sources: documents.sources.slice(first, next), readings: mine };
            const salt = `order ${seed}`;
            return threads.run(
              'spread',
              { tokens, index, ...known, salt, numBuckets, width },
              beat,
            );
          },
          async (cut, shard) => {
            if (cut !== null) await spill.add(cut.buckets, cut.lengths, cut.records);
            await progress('shards', shard + 1, from.encoded.length);
          },
        );
        const filled = Array.from({ length: numBuckets }, (_, bucket) => bucket).filter((bucket) =>
          spill.has(bucket),
        );
        return await inParallel(
          filled,
          async (bucket) => {
            const parts = [await spill.read(bucket)];
            const given = parts.map(({ buffer }) => buffer);
            const asked = { parts, width };
            const { tokens, index, ...counts } = await threads.run('arrange', asked, beat, given);
            await progress('shards', bucket + 1, numBuckets);
            return {
              tokens: await putBlob(store, tokens),
              index: await putBlob(store, index),
              ...counts,
            };
          },
          shardsInFlight,
        );
      } finally {
        await spill.close();
      }
    });
  }
}

/** The size of each source, where each document counts so many times. */
function sizesOf(
  { sources, bytes, numTokens }: Documents,
  numSources: number,
  timesOf: (number: number) => number,
): Size[] {
  const sizes = Array.from({ length: numSources }, () => ({
    numDocuments: 0,
    numTokens: 0,
    bytes: 0,
  }));
  for (const [number, source] of sources.entries()) {
    const times = timesOf(number);
    const size = sizes[source]!;
    size.numDocuments += times;
    size.numTokens += times * numTokens[number]!;
    size.bytes += times * bytes[number]!;
  }
  return sizes;
}
