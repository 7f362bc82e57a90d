/** Sets of time as intervals: what was covered by work, and what was not. Any unit; here milliseconds. */

export interface Interval {
  from: number;
  to: number;
}

/** The same times as intervals that neither touch nor overlap, in order. */
export function union(intervals: readonly Interval[]): Interval[] {
  const merged: Interval[] = [];
  const ordered = intervals.filter(({ from, to }) => to > from).toSorted((a, b) => a.from - b.from);
  for (const { from, to } of ordered) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else merged.push({ from, to });
  }
  return merged;
}

/** The part of each interval that lies within one. */
export function clip(intervals: readonly Interval[], within: Interval): Interval[] {
  return intervals
    .map(({ from, to }) => ({ from: Math.max(from, within.from), to: Math.min(to, within.to) }))
    .filter(({ from, to }) => to > from);
}

/** The times of `intervals` that none of `taken` covers. */
export function subtract(intervals: readonly Interval[], taken: readonly Interval[]): Interval[] {
  let left = union(intervals);
  for (const hole of union(taken)) {
    left = left.flatMap(({ from, to }) =>
      [
        { from, to: Math.min(to, hole.from) },
        { from: Math.max(from, hole.to), to },
      ].filter((piece) => piece.to > piece.from),
    );
  }
  return left;
}

/** Time that is covered; what overlaps counts once. */
export function lengthOf(intervals: readonly Interval[]): number {
  return union(intervals).reduce((sum, { from, to }) => sum + to - from, 0);
}
