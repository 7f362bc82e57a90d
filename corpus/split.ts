/**
 * Which documents are never trained on. Decided by each document alone, so that it never changes sides: its hash falls under
 * the share. Of two or more documents at least one is held out, never all; what keeps that is one of the version
 * that has need of it, so that no later version moves a document.
 */
import { byCodeUnits, hashShare } from './order.ts';

/** How documents of one version fall: how many under the share, and the ends of them all by their hash. */
export interface Sides {
  numDocuments: number;
  numUnder: number;
  /** Of the texts of those under the share. */
  bytesUnder: number;
  first: Ranked | null;
  last: Ranked | null;
}

interface Ranked {
  id: string;
  bytes: number;
  rank: number;
}

/** Ids that are held out although their hash says no, and ids that it is the other way round with. Nearly always none. */
export interface Exceptions {
  heldOut: string[];
  trained: string[];
}

/** What is held out of a corpus. */
export interface HeldOut {
  exceptions: Exceptions;
  /** Of its texts. */
  bytes: number;
}

/** Whether a document is held out. */
export function isHeldOut(id: string, share: number, { heldOut, trained }: Exceptions): boolean {
  return hashShare('held-out', id) < share ? !trained.includes(id) : heldOut.includes(id);
}

/** How some documents fall; no two of a corpus have the same id. */
export function sidesOf(documents: Iterable<{ id: string; bytes: number }>, share: number): Sides {
  const sides: Sides = { numDocuments: 0, numUnder: 0, bytesUnder: 0, first: null, last: null };
  for (const { id, bytes } of documents) {
    const rank = hashShare('held-out', id);
    sides.numDocuments += 1;
    if (rank < share) {
      sides.numUnder += 1;
      sides.bytesUnder += bytes;
    }
    sides.first = endOf(sides.first, { id, bytes, rank }, -1);
    sides.last = endOf(sides.last, { id, bytes, rank }, 1);
  }
  return sides;
}

/** How two parts of a version fall together. */
export function joinedSides(one: Sides, other: Sides): Sides {
  return {
    numDocuments: one.numDocuments + other.numDocuments,
    numUnder: one.numUnder + other.numUnder,
    bytesUnder: one.bytesUnder + other.bytesUnder,
    first: endOf(one.first, other.first, -1),
    last: endOf(one.last, other.last, 1),
  };
}

/** What follows from all versions, oldest first. */
export function heldOutOf(versions: Iterable<Sides>): HeldOut {
  const exceptions: Exceptions = { heldOut: [], trained: [] };
  let numBefore = 0;
  let numHeldOut = 0;
  let bytes = 0;
  for (const { numDocuments, numUnder, bytesUnder, first, last } of versions) {
    if (first === null || last === null) continue;
    const least = numHeldOut === 0 && numBefore + numDocuments >= 2 ? 1 : 0;
    const most = numDocuments - (numBefore === 0 ? 1 : 0);
    const count = Math.min(Math.max(numUnder, least), most);
    bytes += bytesUnder;
    if (count > numUnder) {
      exceptions.heldOut.push(first.id);
      bytes += first.bytes;
    }
    if (count < numUnder) {
      exceptions.trained.push(last.id);
      bytes -= last.bytes;
    }
    numBefore += numDocuments;
    numHeldOut += count;
  }
  return { exceptions, bytes };
}

/** The one of two that comes first (-1) or last (1). */
function endOf(one: Ranked | null, other: Ranked | null, end: -1 | 1): Ranked | null {
  if (one === null || other === null) return one ?? other;
  const order = one.rank - other.rank || byCodeUnits(one.id, other.id);
  return order * end >= 0 ? one : other;
}
