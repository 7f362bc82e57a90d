/** A list of lines longer than memory should hold, put in order and packed: sorted in parts, which are merged as they are written. */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress } from 'node:zlib';
import { heldBytes } from '../config/data-memory.ts';
import { compression } from '../registry/blobs.ts';

/** Lines handed on at once. */
const chunkBytes = 256_000;
const newline = 0x0a;

export class SortedLines<Key> {
  readonly #folder: string;
  readonly #sort: (lines: Uint8Array[]) => Promise<Uint8Array>;
  readonly #keyOf: (line: Buffer) => Key;
  readonly #compare: (a: Key, b: Key) => number;
  readonly #limit: number;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  readonly #runs: string[] = [];

  /** `sort` puts lines in the order of `compare`, those of the same key as they came. */
  constructor(
    folder: string,
    {
      sort,
      keyOf,
      compare,
      limit = heldBytes.sorted,
    }: {
      sort: (lines: Uint8Array[]) => Promise<Uint8Array>;
      keyOf: (line: Buffer) => Key;
      compare: (a: Key, b: Key) => number;
      limit?: number;
    },
  ) {
    this.#folder = folder;
    this.#sort = sort;
    this.#keyOf = keyOf;
    this.#compare = compare;
    this.#limit = limit;
  }

  /** Takes whole lines, one call at a time. */
  async add(lines: Uint8Array): Promise<void> {
    this.#held.push(lines);
    this.#heldBytes += lines.length;
    if (this.#heldBytes < this.#limit) return;
    await writeFile(this.#nextRun(), await this.#takeSorted());
  }

  /** Writes all lines in order, packed: the same bytes as if they were packed at once. */
  async write(file: string, onChunk: () => Promise<void>): Promise<void> {
    const last = await this.#takeSorted();
    const runs = this.#runs.map((run) => createReadStream(run));
    // Whoever reads it hears of a fault; till then nobody listens.
    for (const run of runs) run.on('error', () => {});
    try {
      const lines =
        runs.length === 0 ? inChunks(last) : this.#merged([...runs.map(linesOf), linesOf([last])]);
      await pack(lines, file, onChunk);
    } finally {
      // An open file keeps its room on the disk though its folder is gone.
      for (const run of runs) run.destroy();
    }
  }

  #nextRun(): string {
    const run = `${this.#folder}/lines-${this.#runs.length}`;
    this.#runs.push(run);
    return run;
  }

  async #takeSorted(): Promise<Buffer> {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    const { buffer, byteOffset, length } = await this.#sort(held);
    return Buffer.from(buffer, byteOffset, length);
  }

  async *#merged(runs: AsyncIterable<Buffer>[]): AsyncGenerator<Buffer> {
    const heads: { line: Buffer; key: Key; run: number; rest: AsyncIterator<Buffer> }[] = [];
    const advance = async (rest: AsyncIterator<Buffer>, run: number): Promise<void> => {
      const { value, done } = await rest.next();
      if (done === true) return;
      const head = { line: value, key: this.#keyOf(value), run, rest };
      const before = (other: (typeof heads)[number]): boolean =>
        (this.#compare(other.key, head.key) || other.run - head.run) > 0;
      // The one that comes next stands last.
      let [from, to] = [0, heads.length];
      while (from < to) {
        const middle = (from + to) >>> 1;
        if (before(heads[middle]!)) from = middle + 1;
        else to = middle;
      }
      heads.splice(from, 0, head);
    };
    for (const [run, lines] of runs.entries()) await advance(lines[Symbol.asyncIterator](), run);
    let chunk: Buffer[] = [];
    let bytes = 0;
    for (let head = heads.pop(); head !== undefined; head = heads.pop()) {
      chunk.push(head.line);
      bytes += head.line.length;
      if (bytes >= chunkBytes) {
        yield Buffer.concat(chunk);
        chunk = [];
        bytes = 0;
      }
      await advance(head.rest, head.run);
    }
    if (bytes > 0) yield Buffer.concat(chunk);
  }
}

async function pack(
  lines: AsyncIterable<Buffer> | Iterable<Buffer>,
  file: string,
  onChunk: () => Promise<void>,
): Promise<void> {
  const packer = createZstdCompress(compression);
  const written = pipeline(packer, createWriteStream(file, { mode: 0o600 }));
  // A fault of it is thrown below, where somebody waits.
  written.catch(() => {});
  // The last chunk ends the frame, as the whole does where it is packed at once.
  let before: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of lines) {
      if (before.length > 0 && !packer.write(before))
        await Promise.race([once(packer, 'drain'), written]);
      before = chunk;
      await onChunk();
    }
    packer.end(before);
    await written;
  } finally {
    packer.destroy();
    await written.catch(() => {});
  }
}

function* inChunks(lines: Buffer): Generator<Buffer> {
  for (let at = 0; at < lines.length; at += chunkBytes) yield lines.subarray(at, at + chunkBytes);
}

/** Each with its line feed. */
async function* linesOf(pieces: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, start)) {
      const line = piece.subarray(start, end + 1);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      start = end + 1;
    }
    if (start < piece.length) rest.push(piece.subarray(start));
  }
}
