/**
 * The version before the one that is made: which documents are known from it, since which version, and which of its
 * shards are taken over as they are. Of its documents two digests of 16 bytes each are held, never the texts.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { blobRefSchema, canonicalJson, sha256Schema } from '../config/digest.ts';
import type { DatasetManifest, Document } from '../config/manifests.ts';
import { DigestTable } from '../corpus/digest-table.ts';
import { hasBlob, putBlob, readBlob, readJsonLines } from '../registry/blobs.ts';
import { putReadLines } from '../registry/readings.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { inParallel } from './preprocess-parallel.ts';

export type DatasetShard = DatasetManifest['shards'][number];

const digestBytes = 16;

/** stages/shard-ids/<digest>.json: of each document of a shard its id and the digest of the whole record. */
const shardIdsSchema = z.strictObject({
  schemaVersion: z.literal(1),
  of: sha256Schema.describe('the raw shard, with which it expires'),
  ids: blobRefSchema.describe('16 bytes of the id, 16 of the digest; a document after the other'),
});

/** A document as the version before knows it. */
export type Met = {
  /** Changed: the same text under another path, or with other metadata. */
  known: 'unchanged' | 'changed';
  since: number;
} | null;

export class VersionBefore {
  readonly manifest: DatasetManifest;
  readonly #records: DigestTable;
  readonly #ids: DigestTable;
  /** Version that each id came with first, by its number. */
  readonly #since: number[] = [];
  /** 1 of each document that was met again, in the order of the shards. */
  readonly #met: Uint8Array;

  private constructor(manifest: DatasetManifest, shards: readonly Buffer[]) {
    const size = shards.reduce((sum, { length }) => sum + length / (2 * digestBytes), 0);
    this.manifest = manifest;
    this.#records = new DigestTable(size);
    this.#ids = new DigestTable(size);
    this.#met = new Uint8Array(size);
    for (const [index, digests] of shards.entries()) {
      const since = manifest.shards[index]!.since ?? 1;
      for (let at = 0; at < digests.length; at += 2 * digestBytes) {
        const id = digests.subarray(at, at + digestBytes);
        // Shards come oldest first, so the first to bring an id is the one that counts.
        if (this.#ids.find(id) === null) {
          this.#ids.add(id);
          this.#since.push(since);
        }
        this.#records.add(digests.subarray(at + digestBytes, at + 2 * digestBytes));
      }
    }
  }

  static async open(store: Store, manifest: DatasetManifest): Promise<VersionBefore> {
    const ids = await inParallel(manifest.shards, async (shard) => idsOf(store, shard));
    return new VersionBefore(manifest, ids);
  }

  /** Looks for a document; one that is unchanged counts as met. */
  meet(document: Document): Met {
    const known = this.#ids.find(Buffer.from(document.id, 'hex'));
    if (known === null) return null;
    const since = this.#since[known]!;
    const number = this.#records.find(recordDigest(document), (found) => this.#met[found] === 0);
    if (number === null) return { known: 'changed', since };
    this.#met[number] = 1;
    return { known: 'unchanged', since };
  }

  /** Its shards with what was met of them: the same ones where that is all, else the rest, written anew. */
  async shardsMet(store: Store): Promise<DatasetShard[]> {
    let first = 0;
    const placed = this.manifest.shards.map((shard) => {
      const met = this.#met.subarray(first, first + shard.numDocuments);
      first += shard.numDocuments;
      return { shard, met };
    });
    const left = await inParallel(placed, async ({ shard, met }) => restOf(store, shard, met), 4);
    return left.filter((shard) => shard !== null);
  }
}

async function restOf(
  store: Store,
  shard: DatasetShard,
  met: Uint8Array,
): Promise<DatasetShard | null> {
  const numDocuments = met.reduce((sum, one) => sum + one, 0);
  if (numDocuments === 0) return null;
  if (numDocuments === shard.numDocuments) return shard;
  const documents = (await readJsonLines(store, shard.documents)) as Document[];
  const rest = documents.filter((_, position) => met[position] === 1);
  return {
    ...shard,
    documents: await putReadLines(store, rest, shard.documents.sealed),
    numDocuments,
  };
}

async function idsOf(store: Store, { documents }: DatasetShard): Promise<Buffer> {
  const key = stageDigest({ documents });
  const found = await findStage(store, 'shard-ids', key, shardIdsSchema);
  // Made again where it was collected: the record alone is no use.
  if (found !== null && (await hasBlob(store, found.ids))) return readBlob(store, found.ids);
  const parts: Buffer[] = [];
  for (const document of (await readJsonLines(store, documents)) as Document[]) {
    parts.push(Buffer.from(document.id, 'hex'), recordDigest(document));
  }
  const ids = Buffer.concat(parts);
  const made = {
    schemaVersion: 1 as const,
    of: documents.sha256,
    // Digests of short documents can be guessed: they are sealed as the documents are, and expire with them.
    ids: await putBlob(store, ids, documents.sealed),
  };
  await recordStage(store, 'shard-ids', key, shardIdsSchema, made);
  return ids;
}

function recordDigest(document: Document): Buffer {
  return createHash('sha256').update(canonicalJson(document)).digest().subarray(0, digestBytes);
}
