/** Chooses some of many by a hash, so that the same seed shows the same ones, in whatever order they come. */
import { createHash } from 'node:crypto';

/** Holds as many as were asked for: those with the smallest hashes. What has the same key counts once. */
export class Sample<Item> {
  readonly #size: number;
  readonly #seed: number;
  #chosen: { rank: string; item: Item }[] = [];

  constructor(size: number, seed: number) {
    this.#size = size;
    this.#seed = seed;
  }

  add(key: string, item: Item): void {
    const rank = createHash('sha256').update(`${this.#seed}:${key}`).digest('hex');
    if (this.#chosen.length >= this.#size && rank >= (this.#chosen.at(-1)?.rank ?? '')) return;
    if (this.#chosen.some((one) => one.rank === rank)) return;
    this.#chosen = [...this.#chosen, { rank, item }]
      .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
      .slice(0, this.#size);
  }

  /** In the order of their hashes. */
  items(): Item[] {
    return this.#chosen.map(({ item }) => item);
  }
}

/** The beginning of a text, for a person. */
export function beginning(text: string): string {
  // A character of two units is not cut in two.
  return text.slice(0, 300).replace(/[\uD800-\uDBFF]$/, '');
}
