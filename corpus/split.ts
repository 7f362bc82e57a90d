/** Which documents are never trained on. Decided by each document alone, so that it never changes sides. */
import { byCodeUnits, hashShare } from './order.ts';

/** The ids that are held out: those whose hash falls under the share; of two or more documents at least one, never all. */
export function heldOutIds(ids: readonly string[], share: number): Set<string> {
  const ranked = ids
    .map((id) => ({ id, rank: hashShare('held-out', id) }))
    .toSorted((a, b) => a.rank - b.rank || byCodeUnits(a.id, b.id));
  const wanted = ranked.filter(({ rank }) => rank < share).length;
  const count = ranked.length < 2 ? 0 : Math.min(Math.max(wanted, 1), ranked.length - 1);
  return new Set(ranked.slice(0, count).map(({ id }) => id));
}
