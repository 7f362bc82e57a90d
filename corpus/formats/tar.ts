/**
 * tar: its members one after the other, read and never written anywhere. Names that are no UTF-8 are judged together, as
 * those of zip are: the headers are gone through once before, where the bytes can be read again.
 */
import { isUtf8 } from '../decode.ts';
import { nameDecoder, sampleBytes } from './names.ts';
import { cursor, type Cursor } from './cursor.ts';
import { isHidden, readMember } from './member.ts';
import { bytesOfStream } from './bytes.ts';
import { maxMembers, Refused, type Bytes, type FileRecord, type Reading } from './types.ts';

const blockBytes = 512;
const maxNameBytes = 64 * 1024;

/** Members in their order, by ustar, pax and GNU's long names. */
export async function* readTar(
  _name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  const file = cursor(bytes);
  const decode = decoderOf(bytes);
  let numMembers = 0;
  for await (const { index, name: raw, type, size } of headers(file)) {
    if ((numMembers += 1) > maxMembers) {
      throw new Refused('bomb', `found more than ${maxMembers} members`);
    }
    const name = await decode(raw);
    const content = { left: size };
    if (type === '5' || isHidden(name)) {
      // A folder, or a name that is left alone.
    } else if (type === '0' || type === '\0' || type === '7') {
      yield* readMember(name, bytesOfStream(part(file, content), size), reading);
    } else {
      const inside = `${reading.inside}!/${name}`;
      yield type === '1' || type === '2'
        ? { position: null, inside, reason: 'symbolic_link', detail: 'links are not followed' }
        : { position: null, inside, reason: 'not_a_file', detail: 'expected an ordinary file' };
    }
    if ((await file.skip(content.left)) < content.left) {
      throw new Refused('damaged', `member ${index + 1} is cut off`);
    }
    await file.skip(paddingOf(size));
  }
  if (numMembers === 0) yield { position: null, reason: 'empty', detail: 'no members' };
}

interface Header {
  /** Its number among all headers. */
  index: number;
  name: Buffer;
  type: string;
  size: number;
}

type Steps = Pick<Cursor, 'take' | 'skip'>;

/** The header of each member. Whoever asks passes over what is behind it. */
async function* headers(file: Steps): AsyncGenerator<Header> {
  let longName: Buffer | null = null;
  for (let index = 0; ; index += 1) {
    const block = await file.take(blockBytes);
    if (block.every((byte) => byte === 0)) return;
    if (block.length < blockBytes || !checksumFits(block)) {
      throw new Refused('damaged', `member ${index + 1} has no whole header of tar`);
    }
    const size = number(block.subarray(124, 136));
    const type = String.fromCharCode(block[156]!);
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      if (size > maxNameBytes) throw new Refused('damaged', `a name of ${size} bytes`);
      const content = await file.take(size);
      await file.skip(paddingOf(size));
      if (type === 'L') longName = untilZero(content);
      if (type === 'x') longName = paxPath(content) ?? longName;
      continue;
    }
    yield { index, name: longName ?? ustarName(block), type, size };
    longName = null;
  }
}

function paddingOf(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}

/** Decodes the names of an archive one after the other; by those before alone where its bytes come but once. */
function decoderOf(bytes: Bytes): (name: Buffer) => Promise<string> {
  const before: Buffer[] = [];
  let length = 0;
  let all: Promise<Buffer[]> | null = null;
  let decode: ((name: Buffer) => string) | null = null;
  return async (name) => {
    if (isUtf8(name)) return nameDecoder([])(name);
    if (bytes.at === undefined && bytes.again === undefined) {
      if (length <= sampleBytes) {
        before.push(Buffer.from(name));
        length += name.length;
        decode = nameDecoder(before);
      }
      return decode!(name);
    }
    all ??= otherNames(bytes);
    decode ??= nameDecoder(await all);
    return decode(name);
  };
}

/** The names that are no UTF-8, as many as are looked at, by the headers alone. */
async function otherNames(bytes: Bytes): Promise<Buffer[]> {
  const file = bytes.at === undefined ? cursor(bytes.again!()) : seeking(bytes.at);
  const names: Buffer[] = [];
  let length = 0;
  let numMembers = 0;
  try {
    for await (const { name, size } of headers(file)) {
      if (!isUtf8(name)) names.push(Buffer.from(name));
      length += isUtf8(name) ? 0 : name.length;
      if (length > sampleBytes || (numMembers += 1) > maxMembers) break;
      await file.skip(size + paddingOf(size));
    }
  } catch (error) {
    // Where the archive is damaged the members before are read, and it is refused there.
    if (!(error instanceof Refused)) throw error;
  }
  return names;
}

function seeking(at: NonNullable<Bytes['at']>): Steps {
  let place = 0;
  return {
    async take(length) {
      const found = await at(place, length);
      place += found.length;
      return found;
    },
    async skip(length) {
      place += length;
      return length;
    },
  };
}

async function* part(file: Cursor, content: { left: number }): AsyncGenerator<Buffer> {
  while (content.left > 0) {
    const piece = await file.some(content.left);
    if (piece.length === 0) throw new Refused('damaged', 'the archive ends in the middle of it');
    content.left -= piece.length;
    yield piece;
  }
}

function checksumFits(block: Buffer): boolean {
  let sum = 8 * 0x20;
  for (const [index, byte] of block.entries()) if (index < 148 || index >= 156) sum += byte;
  return sum === number(block.subarray(148, 156));
}

/** Octal digits, or GNU's binary form of large numbers. */
function number(field: Buffer): number {
  if ((field[0]! & 0x80) !== 0) {
    const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
    if (!Number.isSafeInteger(value)) throw new Refused('damaged', 'a size without measure');
    return value;
  }
  const digits = field.toString('latin1').replaceAll(/[\0 ]+/g, '');
  if (!/^[0-7]*$/.test(digits)) throw new Refused('damaged', 'a size that is no number');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function ustarName(block: Buffer): Buffer {
  const name = untilZero(block.subarray(0, 100));
  const prefix = untilZero(block.subarray(345, 500));
  const ustar = block.toString('latin1', 257, 263) === 'ustar\0';
  return ustar && prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name;
}

function untilZero(field: Buffer): Buffer {
  const zero = field.indexOf(0);
  return zero < 0 ? field : field.subarray(0, zero);
}

/** Records of `<length> key=value` and a line's end. */
function paxPath(content: Buffer): Buffer | null {
  let found: Buffer | null = null;
  for (let start = 0; start < content.length;) {
    const space = content.indexOf(0x20, start);
    const length = space < 0 ? Number.NaN : Number(content.toString('latin1', start, space));
    if (!Number.isInteger(length) || length <= space - start) return found;
    const record = content.subarray(space + 1, start + length - 1);
    if (record.subarray(0, 5).toString('latin1') === 'path=') found = record.subarray(5);
    start += length;
  }
  return found;
}
