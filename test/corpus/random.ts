/** Seeded random values for property-like tests: the same cases on every run. */

/** Mulberry32: numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<Item>(random: () => number, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)]!;
}

/** A text of so many pieces, drawn from the list. */
export function textOf(random: () => number, pieces: readonly string[], length: number): string {
  return Array.from({ length }, () => pick(random, pieces)).join('');
}

/** English of distinct sentences, so that no rule on repetition applies. */
export function english(random: () => number, numWords: number): string {
  const common = 'the of and to in a that is with it was have for be on as by this are from'.split(
    ' ',
  );
  const words: string[] = [];
  for (let index = 0; index < numWords; index += 1) {
    const made = Array.from({ length: 3 + Math.floor(random() * 6) }, () =>
      pick(random, [...'abcdefghijklmnoprstuvwy']),
    ).join('');
    words.push(random() < 0.3 ? pick(random, common) : made);
  }
  return `${words.join(' ')}.`;
}
