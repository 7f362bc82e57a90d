/** Byte-pair merging of one pre-token: the pair of lowest rank first, of equal ones the leftmost, until none is left. */

/** Pre-tokens up to so many bytes are merged by looking at every pair again; longer ones by a heap. */
const fewBytes = 24;

export class Merger {
  readonly #mask: number;
  /** Open table over pairs of ids: left, right, rank, merged id. */
  readonly #table: Int32Array;
  #ids = new Int32Array(256);
  #ranks = new Int32Array(256);
  #next = new Int32Array(256);
  #previous = new Int32Array(256);
  #heap = new Float64Array(256);
  #size = 0;
  #merged = -1;

  /** Ranks are positions in the list. */
  constructor(merges: readonly (readonly [left: number, right: number, merged: number])[]) {
    const slots = 1 << (34 - Math.clz32(Math.max(1, merges.length)));
    this.#mask = slots - 1;
    this.#table = new Int32Array(slots * 4).fill(-1);
    for (const [rank, [left, right, merged]] of merges.entries()) {
      const at = this.#slotOf(left, right);
      this.#table.set([left, right, rank, merged], at);
    }
  }

  /** Merges the first `length` ids of `symbols` in place; gives how many are left. */
  merge(symbols: Int32Array, length: number): number {
    return length <= fewBytes ? this.#mergeFew(symbols, length) : this.#mergeMany(symbols, length);
  }

  #slotOf(left: number, right: number): number {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash ^= hash >>> 15;
    const table = this.#table;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot << 2;
      const found = table[at]!;
      if (found === -1 || (found === left && table[at + 1] === right)) return at;
    }
  }

  /** Rank of a pair, or -1; the id it makes is left in `#merged`. */
  #rankOf(left: number, right: number): number {
    const at = this.#slotOf(left, right);
    this.#merged = this.#table[at + 3]!;
    return this.#table[at + 2]!;
  }

  #mergeFew(symbols: Int32Array, given: number): number {
    const ranks = this.#ranks;
    let length = given;
    for (let at = 0; at + 1 < length; at += 1)
      ranks[at] = this.#rankOf(symbols[at]!, symbols[at + 1]!);
    for (;;) {
      let best = -1;
      let lowest = 0x7fffffff;
      for (let at = 0; at + 1 < length; at += 1) {
        const rank = ranks[at]!;
        if (rank >= 0 && rank < lowest) {
          lowest = rank;
          best = at;
        }
      }
      if (best === -1) return length;
      this.#rankOf(symbols[best]!, symbols[best + 1]!);
      symbols[best] = this.#merged;
      length -= 1;
      for (let at = best + 1; at < length; at += 1) {
        symbols[at] = symbols[at + 1]!;
        ranks[at] = ranks[at + 1]!;
      }
      if (best > 0) ranks[best - 1] = this.#rankOf(symbols[best - 1]!, symbols[best]!);
      if (best + 1 < length) ranks[best] = this.#rankOf(symbols[best]!, symbols[best + 1]!);
    }
  }

  #mergeMany(symbols: Int32Array, length: number): number {
    this.#reserve(length);
    const ids = this.#ids;
    const next = this.#next;
    const previous = this.#previous;
    const ranks = this.#ranks;
    this.#size = 0;
    for (let at = 0; at < length; at += 1) {
      ids[at] = symbols[at]!;
      next[at] = at + 1 < length ? at + 1 : -1;
      previous[at] = at - 1;
    }
    for (let at = 0; at + 1 < length; at += 1) this.#offer(at, at + 1);
    while (this.#size > 0) {
      const entry = this.#pop();
      const rank = Math.floor(entry / maxLength);
      const at = entry - rank * maxLength;
      // An entry whose pair has changed since is stale.
      if (ranks[at] !== rank || ids[at] === -1) continue;
      const after = next[at]!;
      this.#rankOf(ids[at]!, ids[after]!);
      ids[at] = this.#merged;
      ids[after] = -1;
      const beyond = next[after]!;
      next[at] = beyond;
      ranks[at] = -1;
      if (beyond !== -1) {
        previous[beyond] = at;
        this.#offer(at, beyond);
      }
      if (previous[at] !== -1) this.#offer(previous[at]!, at);
    }
    let count = 0;
    for (let at = 0; at !== -1; at = next[at]!) symbols[count++] = ids[at]!;
    return count;
  }

  /** Puts a pair in line, if it is one that merges. */
  #offer(at: number, after: number): void {
    const rank = this.#rankOf(this.#ids[at]!, this.#ids[after]!);
    this.#ranks[at] = rank;
    if (rank === -1) return;
    const heap = this.#heap;
    const entry = rank * maxLength + at;
    let place = this.#size++;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (heap[parent]! <= entry) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = entry;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0]!;
    const size = (this.#size -= 1);
    const entry = heap[size]!;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child += 1;
      if (heap[child]! >= entry) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = entry;
    return top;
  }

  #reserve(length: number): void {
    if (length <= this.#ids.length) return;
    const size = 2 ** Math.ceil(Math.log2(length));
    this.#ids = new Int32Array(size);
    this.#ranks = new Int32Array(size);
    this.#next = new Int32Array(size);
    this.#previous = new Int32Array(size);
    // Each merge offers two pairs at most.
    this.#heap = new Float64Array(size * 3);
  }
}

/** Bytes of the longest pre-token that a heap's entry can point into. */
export const maxLength = 2 ** 24;
