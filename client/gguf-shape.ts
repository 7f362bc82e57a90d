/** The shape of a Llama or Qwen in a GGUF file, from the head of the file alone: a plan needs no weights. */
import { open } from 'node:fs/promises';
import { maxBaseContext } from '../config/base-models.ts';
import { families, type PlainShape } from '../config/recipe.ts';

/** Of the file: its vocabulary stands there too, in a few megabytes. */
const maxHeadBytes = 64 * 2 ** 20;

/** Null for what is no GGUF file, not whole, or of another architecture. */
export async function readGgufShape(file: string): Promise<PlainShape | null> {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(Math.min(size, maxHeadBytes));
    await handle.read(head, 0, head.length, 0);
    return shapeOf(head);
  } catch (error) {
    // Read beyond the end: the file is cut off, or is none.
    if (error instanceof RangeError || (error as NodeJS.ErrnoException).code === 'EISDIR') {
      return null;
    }
    throw error;
  } finally {
    await handle.close();
  }
}

function shapeOf(head: Buffer): PlainShape | null {
  const reader = new Reader(head);
  if (head.toString('latin1', 0, 4) !== 'GGUF') return null;
  reader.skip(4);
  const version = reader.u32();
  if (version !== 2 && version !== 3) return null;
  const numTensors = reader.u64();
  const numFields = reader.u64();
  const fields = new Map<string, Value>();
  for (let index = 0; index < numFields; index += 1) {
    const key = reader.text();
    fields.set(key, reader.value(reader.u32()));
  }
  const tensors = new Set<string>();
  for (let index = 0; index < numTensors; index += 1) {
    tensors.add(reader.text());
    reader.skip(reader.u32() * 8 + 12);
  }
  const family = families.find((known) => known === fields.get('general.architecture'));
  if (family === undefined) return null;
  const number = (key: string, otherwise = 0) => {
    const found = fields.get(`${family}.${key}`);
    return typeof found === 'number' ? found : otherwise;
  };
  const numHeads = number('attention.head_count');
  const headDim = number('attention.key_length');
  const shape: PlainShape = {
    family,
    vocabSize: number('vocab_size', lengthOf(fields.get('tokenizer.ggml.tokens'))),
    hiddenSize: number('embedding_length'),
    intermediateSize: number('feed_forward_length'),
    numLayers: number('block_count'),
    numHeads,
    numKvHeads: number('attention.head_count_kv', numHeads),
    contextLength: Math.min(number('context_length'), maxBaseContext),
    ropeTheta: number('rope.freq_base', 10_000),
    tieEmbeddings: !tensors.has('output.weight'),
    ...(headDim > 0 && headDim * numHeads !== number('embedding_length') && { headDim }),
  };
  return Object.values(shape).includes(0) ? null : shape;
}

/** Of a list its length is enough. */
type Value = string | number | boolean | { length: number };

function lengthOf(value: Value | undefined): number {
  return typeof value === 'object' ? value.length : 0;
}

const textType = 8;
const listType = 9;
/** Bytes of a value, by its type; a text and a list say their own. */
const widths = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  skip(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#bytes.length) throw new RangeError('beyond the end');
    return at;
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.skip(4));
  }

  u64(): number {
    const value = Number(this.#bytes.readBigUInt64LE(this.skip(8)));
    if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('no such length');
    return value;
  }

  text(): string {
    const length = this.u64();
    const at = this.skip(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  value(type: number): Value {
    if (type === textType) return this.text();
    if (type !== listType) return this.#number(type);
    const of = this.u32();
    const length = this.u64();
    if (of === textType) for (let index = 0; index < length; index += 1) this.skip(this.u64());
    else if (of === listType) throw new RangeError('a list of lists');
    else this.skip(width(of) * length);
    return { length };
  }

  #number(type: number): number {
    const at = this.skip(width(type));
    switch (type) {
      case 6:
        return this.#bytes.readFloatLE(at);
      case 10:
      case 11:
        return Number(this.#bytes.readBigInt64LE(at));
      case 12:
        return this.#bytes.readDoubleLE(at);
      default:
        return this.#bytes.readUIntLE(at, width(type));
    }
  }
}

function width(type: number): number {
  const bytes = widths[type];
  if (bytes === undefined || bytes === 0) throw new RangeError(`no type ${type}`);
  return bytes;
}
