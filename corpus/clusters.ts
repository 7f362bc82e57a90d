/** Documents that say the same, joined two by two; twelve bytes a document, and eight a pair of two versions. */
import { Words } from './words-and-bytes.ts';

const nobody = 0xffff_ffff;

/** Documents by place, oldest version first: the smallest place of a group is its survivor, so a root is always right. */
export class Clusters {
  readonly #since: Uint32Array;
  readonly #parent: Uint32Array;
  /** Pairs of documents of two versions, by the later one. */
  readonly #across = new Map<number, Words>();

  constructor(since: Uint32Array) {
    this.#since = since;
    this.#parent = Uint32Array.from(since.keys());
  }

  join(a: number, b: number): void {
    const [older, newer] = a < b ? [a, b] : [b, a];
    const since = this.#since[newer]!;
    if (this.#since[older] === since) {
      this.#unite(older, newer);
      return;
    }
    let known = this.#across.get(since);
    if (known === undefined) this.#across.set(since, (known = new Words()));
    known.push(older, newer);
  }

  /** Gives each group of a later version to the oldest document that one of it is paired with; older groups stay apart. */
  settle(): void {
    const oldest = new Uint32Array(this.#across.size === 0 ? 0 : this.#parent.length).fill(nobody);
    for (const [since, words] of [...this.#across].toSorted(([a], [b]) => a - b)) {
      const pairs = words.all();
      for (let at = 0; at < pairs.length; at += 2) {
        const older = this.survivorOf(pairs[at]!);
        const group = this.survivorOf(pairs[at + 1]!);
        oldest[group] = Math.min(oldest[group]!, older);
      }
      for (let at = 0; at < pairs.length; at += 2) {
        const group = this.survivorOf(pairs[at + 1]!);
        // A group that was given away already is found under an older version.
        if (this.#since[group] === since) this.#parent[group] = oldest[group]!;
      }
    }
    this.#across.clear();
  }

  survivorOf(place: number): number {
    const parent = this.#parent;
    let at = place;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  }

  #unite(a: number, b: number): void {
    const [one, other] = [this.survivorOf(a), this.survivorOf(b)];
    if (one !== other) this.#parent[Math.max(one, other)] = Math.min(one, other);
  }
}
