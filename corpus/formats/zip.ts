/** zip: its members by the directory at its end, read and never written anywhere. */
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { fromRandomAccessReaderPromise, RandomAccessReader, type Entry, type ZipFile } from 'yauzl';
import { bytesOfStream, seekable, whole } from './bytes.ts';
import { isHidden, readMember } from './member.ts';
import { decodeNames } from './names.ts';
import {
  maxMembers,
  maxRecordBytes,
  Refused,
  type Account,
  type Bytes,
  type FileRecord,
  type Reading,
} from './types.ts';
import { unpacked } from './unpack.ts';

/** A member of an archive; folders are left out. */
export interface ZipMember {
  name: string;
  entry: Entry;
}
export interface Zip {
  members: ZipMember[];
  /** Bytes of a member, unpacked. Throws a Refused where it is encrypted or packed in another way. */
  open: (entry: Entry, account: Account) => Bytes;
}

type Seekable = Awaited<ReturnType<typeof seekable>>;

/** Every member of an archive, in the order of its directory. */
export async function* readZip(
  _name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  const { members, open } = await openZip(bytes);
  if (members.length === 0) yield { position: null, reason: 'empty', detail: 'no members' };
  for (const { name, entry } of members) {
    if (isHidden(name)) continue;
    const inside = `${reading.inside}!/${name}`;
    if (((entry.externalFileAttributes >>> 16) & 0xf000) === 0xa000) {
      yield { position: null, inside, reason: 'symbolic_link', detail: 'links are not followed' };
      continue;
    }
    try {
      yield* readMember(name, open(entry, reading.account), reading);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      yield { position: null, inside, ...error.refusal };
    }
  }
}

/** The directory of an archive. Throws a Refused where there is none. */
export async function openZip(given: Bytes): Promise<Zip> {
  const bytes = await seekable(given);
  const entries: Entry[] = [];
  let file: ZipFile;
  try {
    file = await fromRandomAccessReaderPromise(new Reader(bytes), bytes.size, {
      lazyEntries: true,
      autoClose: false,
      decodeStrings: false,
    });
    if (file.entryCount > maxMembers) throw new Refused('bomb', `found ${file.entryCount} members`);
    for await (const entry of file.eachEntry()) entries.push(entry);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused('damaged', `not a whole zip archive (${(error as Error).message})`);
  }
  const raw = entries.map((entry) => entry.fileName as unknown as Buffer);
  const names = decodeNames(raw);
  const members = entries.map((entry, index) => ({
    name: unicodeName(entry) ?? names[index]!,
    entry,
  }));
  return {
    members: members.filter(({ name }) => !name.endsWith('/')),
    open: (entry, account) => ({
      ...openMember(file, entry, account),
      again: () => openMember(file, entry, account.anew()),
    }),
  };
}

/** A small member, whole. */
export async function memberText(zip: Zip, name: string, account: Account): Promise<Buffer | null> {
  const member = zip.members.find((one) => one.name === name);
  return member === undefined ? null : whole(zip.open(member.entry, account), maxRecordBytes);
}

const stored = 0;
const deflated = 8;
const zstandard = 93;

function openMember(file: ZipFile, entry: Entry, account: Account): Bytes {
  const { compressionMethod: method, compressedSize, uncompressedSize: size } = entry;
  if (entry.isEncrypted()) throw new Refused('encrypted', 'the member needs a password');
  if (method !== stored && method !== deflated && method !== zstandard) {
    throw new Refused('unknown_type', `packed by method ${method}, expected deflate, zstd or none`);
  }
  const packed = bytesOfStream(rawBytes(file, entry), compressedSize);
  const plain =
    method === stored ? packed : unpacked(method === deflated ? 'deflate' : 'zst', packed, account);
  return bytesOfStream(verified(plain, size, entry.crc32), size);
}

async function* rawBytes(file: ZipFile, entry: Entry): AsyncGenerator<Buffer> {
  let stream: Readable;
  try {
    stream = await file.openReadStreamPromise(entry, {
      decompress: entry.compressionMethod === stored ? null : false,
    } as never);
    yield* stream as AsyncIterable<Buffer>;
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused('damaged', `the member cannot be found (${(error as Error).message})`);
  }
}

async function* verified(bytes: Bytes, size: number, sum: number): AsyncGenerator<Buffer> {
  let found = 0;
  let length = 0;
  for await (const piece of bytes.chunks()) {
    length += piece.length;
    if (length > size) throw new Refused('damaged', `found more than the ${size} bytes declared`);
    found = crc32(piece, found);
    yield piece;
  }
  if (length !== size || found !== sum) throw new Refused('damaged', 'its checksum is another');
}

/** Info-ZIP's field of the name in UTF-8, where the name that it stands for is the one found. */
function unicodeName(entry: Entry): string | null {
  const field = entry.extraFields.find(({ id }) => id === 0x7075)?.data;
  if (field === undefined || field.length < 6 || field[0] !== 1) return null;
  const fits = field.readUInt32LE(1) === crc32(entry.fileName as unknown as Buffer);
  return fits ? decodeNames([field.subarray(5)])[0]! : null;
}

class Reader extends RandomAccessReader {
  readonly #bytes: Seekable;
  constructor(bytes: Seekable) {
    super();
    this.#bytes = bytes;
  }
  override _readStreamForRange(start: number, end: number): Readable {
    const bytes = this.#bytes;
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = start; at < end; at += pieceBytes)
        yield await bytes.at(at, Math.min(pieceBytes, end - at));
    }
    return Readable.from(pieces(), { objectMode: false });
  }
}
const pieceBytes = 256 * 1024;
