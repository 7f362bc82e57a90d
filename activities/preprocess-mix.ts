/**
 * Mixes encoded documents by the weights and repeats of their sources: the tokens of a document come as often as it is
 * read in an epoch, in an order that the seed gives. So the trainer reads shards like any others.
 */
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { canonicalJson } from '../config/digest.ts';
import { timesRead, type MixedSource } from '../config/mixing.ts';
import type { Mixture } from '../config/mixture.ts';
import { CorpusError } from '../corpus/errors.ts';
import { hashesAtOnce, readingsOf, refuseEmpty } from '../corpus/mixture.ts';
import { byCodeUnits, digestOf, shareOf } from '../corpus/order.ts';
import { tokenWidth, type IndexLine } from '../corpus/pack.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Deps } from './deps.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { EncodedShard, Mixed, Split } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { withWorkDir } from './work-dir.ts';

/** As many as the text of a training shard makes. */
const shardTokens = 500_000;
const shardsInFlight = 4;

/** A document, and where its tokens lie. */
interface Encoded {
  id: string;
  source: number;
  shard: number;
  first: number;
  /** With the token that ends it. */
  numTokens: number;
  bytes: number;
}

/** One reading of a document in an epoch. */
interface Reading {
  document: Encoded;
  rank: string;
}

export async function mixSources(
  deps: Deps,
  threads: ThreadPool,
  from: { documents: Split['shards']; encoded: readonly EncodedShard[]; vocabSize: number },
  { sources, seed }: { sources: readonly MixedSource[]; seed: number },
): Promise<Omit<Mixed, 'schemaVersion'>> {
  const { store } = deps;
  const all = await findDocuments();
  const bySource = sources.map((_, number) => all.filter(({ source }) => source === number));
  const given = sources.map((source, at) => ({ ...source, ...sizeOf(bySource[at]!) }));
  refuseEmpty(given);
  const times = timesRead(given);
  const readings: Reading[] = [];
  const mixture: Mixture = { sources: [] };
  for (const [at, { name, weight, repeat }] of sources.entries()) {
    const documents = bySource[at]!;
    const counts = await readingsOf(documents, times[at]!, `mix ${seed}`, breathe);
    const epoch: Encoded[] = [];
    for (const [place, document] of documents.entries()) {
      for (let time = 0; time < counts[place]!; time += 1) {
        // The first reading stands where it would without a mix.
        const order = time === 0 ? `order ${seed}` : `order ${seed} again ${time}`;
        readings.push({ document, rank: digestOf(order, document.id) });
        epoch.push(document);
        if (readings.length % hashesAtOnce === 0) await breathe();
      }
    }
    mixture.sources.push({
      source: name,
      ...(weight !== undefined && { weight }),
      ...(repeat !== undefined && { repeat }),
      whole: sizeOf(documents),
      used: sizeOf(documents.filter((_, place) => counts[place]! > 0)),
      epoch: sizeOf(epoch),
    });
  }
  return { shards: await write(readings), mixture };

  /** Lets the event loop send the heartbeat. */
  async function breathe(): Promise<void> {
    await progress('documents', readings.length, all.length);
    await setImmediate();
  }

  async function findDocuments(): Promise<Encoded[]> {
    const names = sources.map(({ name }) => name);
    let done = 0;
    const found = await inParallel(
      from.documents,
      async ({ documents }, shard) => {
        const [bytes, index] = await Promise.all([
          readBlob(store, documents),
          readBlob(store, from.encoded[shard]!.index),
        ]);
        const origins = await threads.run(
          'origins',
          { documents: bytes, names },
          beatsOf('documents'),
        );
        if (origins.unknown !== null) {
          throw new CorpusError(
            `data.sources: found a document of ${origins.unknown}, which is in none of the sources that are mixed: ` +
              `${names.join(', ')}. Remove weight and repeat, or name the source that it comes from.`,
          );
        }
        await progress('shards', (done += 1), from.documents.length);
        return linesOf(index).map(({ id, first, num }, at): Encoded => ({
          id,
          source: origins.sources[at]!,
          shard,
          first,
          numTokens: num + 1,
          bytes: origins.bytes[at]!,
        }));
      },
      shardsInFlight,
    );
    return found.flat();
  }

  /** Through files, so that a corpus larger than memory can be put in order. */
  async function write(readings: readonly Reading[]): Promise<Mixed['shards']> {
    const width = tokenWidth(from.vocabSize);
    const total = readings.reduce((sum, { document }) => sum + document.numTokens, 0);
    const numShards = Math.max(1, Math.ceil(total / shardTokens));
    const byShard = Map.groupBy(readings, ({ document }) => document.shard);
    return withWorkDir(deps, async (folder) => {
      const fileOf = (bucket: number): string => path.join(folder, `${bucket}.tokens`);
      /** Of each bucket's file, in turn. */
      const inFile: Reading[][] = Array.from({ length: numShards }, () => []);
      let done = 0;
      await inParallel(
        from.encoded,
        async ({ tokens }, shard) => {
          const mine = byShard.get(shard) ?? [];
          const bytes = mine.length === 0 ? null : await readBlob(store, tokens);
          const parts = Map.groupBy(mine, ({ rank }) => Math.floor(shareOf(rank) * numShards));
          for (const [bucket, some] of parts) {
            const cut = some.map(({ document: { first, numTokens } }) =>
              bytes!.subarray(first * width, (first + numTokens) * width),
            );
            // One writer, so that the file and its list have the same order.
            appendFileSync(fileOf(bucket), Buffer.concat(cut));
            for (const reading of some) inFile[bucket]!.push(reading);
          }
          await progress('shards', (done += 1), from.encoded.length);
        },
        shardsInFlight,
      );
      const filled = [...inFile.keys()].filter((bucket) => inFile[bucket]!.length > 0);
      return await inParallel(
        filled,
        async (bucket) => inOrder(await readFile(fileOf(bucket)), inFile[bucket]!, width),
        shardsInFlight,
      );
    });
  }

  async function inOrder(
    bytes: Buffer,
    readings: readonly Reading[],
    width: number,
  ): Promise<Mixed['shards'][number]> {
    let end = 0;
    const placed = readings.map((reading) => {
      const start = end;
      end += reading.document.numTokens * width;
      return { ...reading, tokens: bytes.subarray(start, end) };
    });
    const sorted = placed.toSorted((a, b) => byCodeUnits(a.rank, b.rank));
    let first = 0;
    const lines: string[] = [];
    for (const { document } of sorted) {
      const { id, source, numTokens } = document;
      lines.push(`${canonicalJson({ first, id, num: numTokens - 1, source })}\n`);
      first += numTokens;
    }
    await progress('shards', 1, 1);
    return {
      tokens: await putBlob(store, Buffer.concat(sorted.map(({ tokens }) => tokens))),
      index: await putBlob(store, Buffer.from(lines.join(''))),
      numDocuments: sorted.length,
      numTokens: first,
    };
  }
}

function linesOf(index: Buffer): IndexLine[] {
  const lines = index.toString('utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as IndexLine);
}

function sizeOf(documents: readonly Encoded[]): Mixture['sources'][number]['whole'] {
  let numTokens = 0;
  let bytes = 0;
  for (const document of documents) {
    numTokens += document.numTokens;
    bytes += document.bytes;
  }
  return { numDocuments: documents.length, numTokens, bytes };
}
