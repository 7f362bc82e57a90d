/** gzip and zstd as streams, within the ratio that honest files keep to. */
import { Readable } from 'node:stream';
import { constants, createGunzip, createInflateRaw, createZstdDecompress } from 'node:zlib';
import { bytesOfStream } from './bytes.ts';
import { checkRatio, Refused, type Account, type Bytes } from './types.ts';

const unpackers = {
  gz: () => createGunzip({ chunkSize: 128 * 1024 }),
  // Frames that would need more than 128 MiB of window are refused by the library.
  zst: () =>
    createZstdDecompress({
      chunkSize: 128 * 1024,
      params: { [constants.ZSTD_d_windowLogMax]: 27 },
    }),
  deflate: () => createInflateRaw({ chunkSize: 128 * 1024 }),
};
export type Packing = keyof typeof unpackers;
const names: Record<Packing, string> = { gz: 'gzip', zst: 'zstd', deflate: 'deflate' };

/** The bytes unpacked, counted on the account. Damage shows as a Refused where it is met. */
export function unpacked(packing: Packing, bytes: Bytes, account: Account): Bytes {
  const stream = bytesOfStream(unpack(packing, bytes, account));
  if (bytes.at === undefined && bytes.again === undefined) return stream;
  // What is unpacked twice is no larger for it.
  const again = (): Bytes =>
    bytesOfStream(unpack(packing, bytes.again?.() ?? bytes, account.anew()));
  return { ...stream, again };
}

async function* unpack(packing: Packing, bytes: Bytes, account: Account): AsyncGenerator<Buffer> {
  let packedBytes = 0;
  let unpackedBytes = 0;
  let fault: unknown;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of bytes.chunks()) {
      packedBytes += piece.length;
      yield piece;
    }
  }
  const source = Readable.from(counted(), { objectMode: false });
  const unpacker = unpackers[packing]();
  // What the packed bytes themselves are refused for comes first.
  source.on('error', (error) => {
    fault = error;
    unpacker.destroy(error);
  });
  try {
    for await (const piece of source.pipe(unpacker) as AsyncIterable<Buffer>) {
      unpackedBytes += piece.length;
      checkRatio(packedBytes, unpackedBytes);
      account.add(piece.length);
      yield piece;
    }
  } catch (error) {
    if (error instanceof Refused) throw error;
    if (fault instanceof Refused) throw fault;
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new Refused('damaged', `not a whole ${names[packing]} stream (${code})`);
  } finally {
    source.destroy();
    unpacker.destroy();
  }
}
