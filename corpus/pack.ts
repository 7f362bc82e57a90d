/** Token shards: the tokens of one document after the other, each followed by the end-of-text token, little-endian and unsigned. */

/** The special token that ends a document; the trainer's tokenizer gives it the first id. */
export const endOfText = '<|endoftext|>';

export interface IndexLine {
  id: string;
  /** Position of the document's first token in the shard. */
  first: number;
  /** Without the end-of-text token. */
  num: number;
  /** Number of the source, where sources are mixed. */
  source?: number;
}

/** Two bytes a token where the vocabulary allows it. */
export function tokenWidth(vocabSize: number): 2 | 4 {
  return vocabSize <= 0x10000 ? 2 : 4;
}

/** Appends documents' tokens to one growing buffer. */
export class Packer {
  readonly index: IndexLine[] = [];
  #numTokens = 0;
  #tokens: Uint16Array | Uint32Array;
  readonly #width: 2 | 4;
  readonly #end: number;

  constructor(width: 2 | 4, end: number) {
    this.#width = width;
    this.#end = end;
    this.#tokens = this.#allocated(1 << 16);
  }

  get numTokens(): number {
    return this.#numTokens;
  }

  add(id: string, tokens: ArrayLike<number>): void {
    const needed = this.#numTokens + tokens.length + 1;
    if (needed > this.#tokens.length) {
      const larger = this.#allocated(Math.max(needed, this.#tokens.length * 2));
      larger.set(this.#tokens.subarray(0, this.#numTokens));
      this.#tokens = larger;
    }
    this.#tokens.set(tokens, this.#numTokens);
    this.#tokens[needed - 1] = this.#end;
    this.index.push({ id, first: this.#numTokens, num: tokens.length });
    this.#numTokens = needed;
  }

  bytes(): Buffer {
    const { buffer, byteOffset } = this.#tokens;
    const bytes = Buffer.from(buffer, byteOffset, this.#numTokens * this.#width);
    if (!littleEndian) return this.#width === 2 ? bytes.swap16() : bytes.swap32();
    return bytes;
  }

  #allocated(length: number): Uint16Array | Uint32Array {
    return this.#width === 2 ? new Uint16Array(length) : new Uint32Array(length);
  }
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
