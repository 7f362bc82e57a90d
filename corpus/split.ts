/** Which documents are never trained on. Decided by each document alone, so that it never changes sides. */
import { byCodeUnits, hashShare } from './order.ts';

/** A document, and the version of its dataset in which it first came; left out: the first. */
export interface Dated {
  id: string;
  since?: number;
}

/**
 * The ids that are held out: those whose hash falls under the share; of two or more documents at least one, never all.
 * What keeps that is one of the version that has need of it, so that no later version moves a document.
 */
export function heldOutIds(documents: readonly Dated[], share: number): Set<string> {
  const heldOut = new Set<string>();
  let numBefore = 0;
  const versions = Map.groupBy(documents, ({ since = 1 }) => since);
  for (const [, inVersion] of [...versions].toSorted(([a], [b]) => a - b)) {
    const ranked = inVersion
      .map(({ id }) => ({ id, rank: hashShare('held-out', id) }))
      .toSorted((a, b) => a.rank - b.rank || byCodeUnits(a.id, b.id));
    const wanted = ranked.filter(({ rank }) => rank < share).length;
    const least = heldOut.size === 0 && numBefore + ranked.length >= 2 ? 1 : 0;
    const most = ranked.length - (numBefore === 0 ? 1 : 0);
    const count = Math.min(Math.max(wanted, least), most);
    for (const { id } of ranked.slice(0, count)) heldOut.add(id);
    numBefore += ranked.length;
  }
  return heldOut;
}
