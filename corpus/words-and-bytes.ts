/** Lists of 32-bit numbers as bytes, little-endian, and lists that grow without an object for each number. */

export const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Numbers as bytes, for a blob. */
export function bytesOf(numbers: Uint32Array): Uint8Array {
  const bytes = Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  return littleEndian ? bytes : Buffer.from(bytes).swap32();
}

/** The numbers of `bytesOf`. */
export function wordsIn(bytes: Uint8Array): Uint32Array {
  const aligned = Uint8Array.from(bytes);
  if (!littleEndian) Buffer.from(aligned.buffer).swap32();
  return new Uint32Array(aligned.buffer);
}

/** Numbers one after the other, four bytes each. */
export class Words {
  #words: Uint32Array;
  #length = 0;

  /** Grows beyond what it was made for, by copying itself. */
  constructor(capacity = 1024) {
    this.#words = new Uint32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(...numbers: number[]): void {
    this.#reserve(numbers.length);
    for (const number of numbers) this.#words[this.#length++] = number;
  }

  append(numbers: Uint32Array): void {
    this.#reserve(numbers.length);
    this.#words.set(numbers, this.#length);
    this.#length += numbers.length;
  }

  /** What was put in so far, where it lies. */
  all(): Uint32Array {
    return this.#words.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#words.length) return;
    const wider = new Uint32Array(Math.max(this.#words.length * 2, this.#length + more));
    wider.set(this.#words);
    this.#words = wider;
  }
}

/** The place of a number among ascending ones, of which it is one. */
export function placeIn(numbers: Uint32Array, number: number): number {
  let [from, to] = [0, numbers.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (numbers[middle]! < number) from = middle + 1;
    else to = middle;
  }
  return from;
}
