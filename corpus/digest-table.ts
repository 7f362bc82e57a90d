/** Digests of 16 bytes, found by their bytes: some 30 bytes of memory each, where a Map of strings takes ten times that. */

const keyLength = 16;

export class DigestTable {
  readonly #keys: Buffer;
  /** Number of a key and 1, where the hash of the key points; 0: nobody. */
  readonly #places: Uint32Array;
  #size = 0;

  /** For at most so many. */
  constructor(capacity: number) {
    this.#keys = Buffer.alloc(capacity * keyLength);
    this.#places = new Uint32Array(2 ** Math.ceil(Math.log2(2 * capacity + 2)));
  }

  /** Puts a digest in, as often as it comes, under the next number: 0, 1, 2 … */
  add(digest: Uint8Array): void {
    this.#keys.set(digest.subarray(0, keyLength), this.#size * keyLength);
    let place = this.#placeOf(digest);
    while (this.#places[place] !== 0) place = this.#next(place);
    this.#size += 1;
    this.#places[place] = this.#size;
  }

  /** The first number of a digest that serves; null where there is none. */
  find(digest: Uint8Array, serves: (number: number) => boolean = () => true): number | null {
    const key = Buffer.from(digest.buffer, digest.byteOffset, keyLength);
    for (let place = this.#placeOf(digest); ; place = this.#next(place)) {
      const number = this.#places[place]! - 1;
      if (number < 0) return null;
      const from = number * keyLength;
      if (key.compare(this.#keys, from, from + keyLength) === 0 && serves(number)) return number;
    }
  }

  // Digests are random already.
  #placeOf(digest: Uint8Array): number {
    const start = (digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24)) >>> 0;
    return start % this.#places.length;
  }

  #next(place: number): number {
    return (place + 1) % this.#places.length;
  }
}
