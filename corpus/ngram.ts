/**
 * An n-gram model of tokens, by interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999): how likely a token is after
 * those before it. It learns in one pass, so that it can be measured while it goes on learning. Pure.
 */

/** No context of that length here. */
const none = -1;
const empty = 0;

export class NgramModel {
  readonly #order: number;
  readonly #vocabSize: number;
  /** A node is a run of tokens, found by the run without its last token, and that token; node 0 is the empty run. */
  #size = 1;
  #parents = new Int32Array(1 << 16);
  #tokens = new Int32Array(1 << 16);
  #lengths = new Uint8Array(1 << 16);
  /** How often it was seen; of a run shorter than the order, after how many different tokens. */
  #counts = new Int32Array(1 << 16);
  /** Of what follows a node: the sum of the counts, and how many different tokens. */
  #sums = new Int32Array(1 << 16);
  #kinds = new Int32Array(1 << 16);
  /** Nodes by hash, half empty at least. */
  #table = new Int32Array(1 << 18);

  constructor(order: number, vocabSize: number) {
    this.#order = order;
    this.#vocabSize = vocabSize;
  }

  /** Learns from a run of tokens, as one that nothing stands before. */
  learn(tokens: ArrayLike<number>): void {
    const order = this.#order;
    const contexts = new Int32Array(order).fill(none);
    contexts[0] = empty;
    const nodes = new Int32Array(order);
    for (let at = 0; at < tokens.length; at += 1) {
      const token = tokens[at]!;
      // A shorter run counts only what is new in front of it, which is how Kneser and Ney count.
      let isNew = true;
      for (let length = order - 1; length >= 0; length -= 1) {
        const context = contexts[length]!;
        if (context === none) {
          nodes[length] = none;
          continue;
        }
        const node = this.#add(context, token, length);
        nodes[length] = node;
        if (!isNew) continue;
        this.#sums[context]! += 1;
        if (this.#counts[node] === 0) this.#kinds[context]! += 1;
        else isNew = false;
        this.#counts[node]! += 1;
      }
      for (let length = order - 1; length > 0; length -= 1) contexts[length] = nodes[length - 1]!;
    }
  }

  /** What runs of tokens cost, in nats. */
  measure(runs: readonly ArrayLike<number>[]): number {
    const order = this.#order;
    const discounts = this.#discounts();
    let nats = 0;
    let contexts = new Int32Array(order);
    let next = new Int32Array(order);
    for (const tokens of runs) {
      contexts.fill(none);
      contexts[0] = empty;
      for (let at = 0; at < tokens.length; at += 1) {
        const token = tokens[at]!;
        let likelihood = 1 / this.#vocabSize;
        next.fill(none);
        next[0] = empty;
        for (let length = 0; length < order; length += 1) {
          const context = contexts[length]!;
          const sum = context === none ? 0 : this.#sums[context]!;
          if (sum === 0) continue;
          const found = this.#slot(context, token);
          const node = found < 0 ? none : this.#table[found]!;
          const discount = discounts[length]!;
          const seen = node === none ? 0 : Math.max(this.#counts[node]! - discount, 0);
          likelihood = (seen + discount * this.#kinds[context]! * likelihood) / sum;
          if (length + 1 < order) next[length + 1] = node;
        }
        nats -= Math.log(likelihood);
        [contexts, next] = [next, contexts];
      }
    }
    return nats;
  }

  /** What is taken of each count for what was never seen: n1 / (n1 + 2 n2), by the length of the context (Ney et al. 1994). */
  #discounts(): Float64Array {
    const once = new Float64Array(this.#order);
    const twice = new Float64Array(this.#order);
    for (let node = 1; node < this.#size; node += 1) {
      const count = this.#counts[node]!;
      if (count === 1) once[this.#lengths[node]!]! += 1;
      else if (count === 2) twice[this.#lengths[node]!]! += 1;
    }
    return once.map((n1, length) => (n1 === 0 ? 0.5 : n1 / (n1 + 2 * twice[length]!)));
  }

  #add(context: number, token: number, length: number): number {
    let slot = this.#slot(context, token);
    if (slot >= 0) return this.#table[slot]!;
    if (this.#size === this.#parents.length) this.#grow();
    if (2 * this.#size >= this.#table.length) {
      this.#rehash();
      slot = this.#slot(context, token);
    }
    const node = this.#size;
    this.#size += 1;
    this.#table[~slot] = node;
    this.#parents[node] = context;
    this.#tokens[node] = token;
    this.#lengths[node] = length;
    return node;
  }

  /** Where a node stands in the table; the complement of where it would. */
  #slot(context: number, token: number): number {
    const mask = this.#table.length - 1;
    let hash = Math.imul(context, 0x9e3779b1) ^ Math.imul(token + 1, 0x85ebca6b);
    hash = (hash ^ (hash >>> 15)) & mask;
    for (;;) {
      const node = this.#table[hash]!;
      if (node === empty) return ~hash;
      if (this.#parents[node] === context && this.#tokens[node] === token) return hash;
      hash = (hash + 1) & mask;
    }
  }

  #grow(): void {
    const longer = (array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const copy = new Int32Array(2 * array.length);
      copy.set(array);
      return copy;
    };
    this.#parents = longer(this.#parents);
    this.#tokens = longer(this.#tokens);
    this.#counts = longer(this.#counts);
    this.#sums = longer(this.#sums);
    this.#kinds = longer(this.#kinds);
    const lengths = new Uint8Array(2 * this.#lengths.length);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
  }

  #rehash(): void {
    this.#table = new Int32Array(2 * this.#table.length);
    for (let node = 1; node < this.#size; node += 1) {
      this.#table[~this.#slot(this.#parents[node]!, this.#tokens[node]!)] = node;
    }
  }
}
