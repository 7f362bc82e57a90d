/**
 * What can go wrong in the registry. Those whose name stands in `config/failures.ts` cannot be cured
 * by a retry; activities turn them into failures of that type.
 */
import { FailureType } from '../config/failures.ts';

/** Bytes in the store are not what their name or their reference says. */
export class ArtifactMismatch extends Error {
  override readonly name = FailureType.ArtifactMismatch;
}

/** Somebody opened a newer generation: nothing that this writer does counts any more. */
export class FencedError extends Error {
  override readonly name = FailureType.Fenced;
}

/** An alias does not point any more to where a conditional move expected it. */
export class AliasMoved extends Error {
  override readonly name = FailureType.ChampionMoved;
  /** Where it points now; null when it points nowhere. */
  readonly version: number | null;
  constructor(message: string, version: number | null) {
    super(message);
    this.version = version;
  }
}

/** A name is taken by something else: nothing under it may be touched. */
export class NameTaken extends Error {
  override readonly name = FailureType.NameTaken;
}

/** Bytes are sealed, or are to be, with a data key that this process was not given. */
export class DataKeyMissing extends Error {
  override readonly name = FailureType.DataKeyMissing;
}

/** Sealed bytes do not open: another key under the same id, or not the bytes that were sealed. */
export class SealBroken extends Error {
  override readonly name = FailureType.SealBroken;
}

/** The documents of a dataset version are deleted, as they were to be. */
export class DatasetExpired extends Error {
  override readonly name = FailureType.DatasetExpired;
}

/** The same step was committed with other bits: the training is not exact on this machine. */
export class CheckpointMismatch extends Error {
  override readonly name = 'CheckpointMismatch';
}

/** Computed at other rates than the head has decided: it may not count, what is computed anew may. */
export class RatesDiffer extends Error {
  override readonly name = 'RatesDiffer';
}

/** A record in the store does not fit its schema. */
export class InvalidRecord extends Error {
  override readonly name = 'InvalidRecord';
}

/** The store gave no usable answer for as long as we were willing to wait. */
export class StoreUnreachable extends Error {
  override readonly name = 'StoreUnreachable';
}

/** The store answered, and no retry will change the answer: wrong keys, no such bucket. */
export class StoreRefused extends Error {
  override readonly name = 'StoreRefused';
}
