/** What a file of that name and those bytes gives, read where the test can see it. */
import { bytesOf, bytesOfStream } from '../../corpus/formats/bytes.ts';
import { readRecords } from '../../corpus/formats/read.ts';
import { Account, type Bytes, type FileRecord } from '../../corpus/formats/types.ts';

export async function recordsOf(
  name: string,
  content: Buffer,
  bytes: Bytes = bytesOf(content),
): Promise<FileRecord[]> {
  const account = new Account(content.length);
  const reading = { textField: 'text', account, depth: 0, inside: '', onLeaf: () => null };
  const found: FileRecord[] = [];
  for await (const record of readRecords(name, bytes, reading)) found.push(record);
  return found;
}

/** The same bytes as a stream in pieces of that size, which cannot be read twice. */
export function inPieces(content: Buffer, length: number): Bytes {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let start = 0; start < content.length; start += length)
      yield content.subarray(start, start + length);
  }
  return bytesOfStream(pieces(), content.length);
}
