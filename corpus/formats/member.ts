/** A member of an archive, read as a file of its name would be. */
import {
  cleanDetail,
  maxDepth,
  Refused,
  type Bytes,
  type FileRecord,
  type Reading,
} from './types.ts';

/** Names that start with a dot are left alone, as in folders; so is what macOS adds. */
export function isHidden(name: string): boolean {
  return name
    .split('/')
    .some((part) => (part.startsWith('.') && part !== '.' && part !== '..') || part === '__MACOSX');
}

/** The records of a member, each with its place inside the archive. */
export async function* readMember(
  name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  const inside = `${reading.inside}!/${name}`;
  if (bytes.size === 0) {
    yield { position: null, inside, reason: 'empty', detail: '0 bytes' };
    return;
  }
  if (reading.depth >= maxDepth) {
    yield {
      position: null,
      inside,
      reason: 'too_deep',
      detail: `archives within ${maxDepth} others`,
    };
    return;
  }
  const refusal = reading.onLeaf(inside);
  try {
    if (refusal !== null) throw new Refused(refusal.reason, refusal.detail);
    const within = { ...reading, inside, depth: reading.depth + 1 };
    for await (const record of reading.member!(name, bytes, within))
      yield { ...record, inside: record.inside ?? inside };
  } catch (error) {
    const refused =
      error instanceof Refused ? error.refusal : { reason: 'damaged', detail: cleanDetail(error) };
    yield { position: null, inside, ...refused };
  } finally {
    reading.onLeaf(reading.inside);
  }
}
