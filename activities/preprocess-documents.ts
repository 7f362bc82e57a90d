/** The documents of a shard, as plain or compressed JSON lines. */
import { documentSchema, type Document } from '../config/manifests.ts';
import { decodeJsonLines } from '../registry/blobs.ts';

const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

export async function readDocuments(bytes: Uint8Array): Promise<Document[]> {
  const lines = zstdMagic.equals(bytes.subarray(0, 4))
    ? await decodeJsonLines(bytes)
    : Buffer.from(bytes)
        .toString('utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as unknown);
  return lines.map((line) => documentSchema.parse(line));
}
