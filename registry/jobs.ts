/** Jobs of training: what a stage digest stands for, kept under it, so that a model's recipe and corpus can be read. */
import { canonicalJson } from '../config/digest.ts';
import type { Head } from '../config/manifests.ts';
import { trainedJobSchema, type TrainedJob } from '../config/run-records.ts';
import { blobKey, putBlob } from './blobs.ts';
import { ArtifactMismatch } from './errors.ts';
import { decodeRecord } from './json.ts';
import { stageDigest } from './stages.ts';
import type { Store } from './store.ts';
import { readHead, type TrialPath } from './training.ts';

/** Keeps a job; resolves with the digest of its stage, which is that of the blob. */
export async function putJob(store: Store, job: object): Promise<string> {
  return (await putBlob(store, Buffer.from(canonicalJson(job)))).sha256;
}

/** The job of a stage, verified; null for one that was trained before jobs were kept. */
export async function readJob(store: Store, stage: string): Promise<TrainedJob | null> {
  const found = await store.get(blobKey(stage));
  if (found === null) return null;
  const job = decodeRecord(`the job ${stage}`, found.bytes, trainedJobSchema);
  const digest = stageDigest(job);
  if (digest === stage) return job;
  throw new ArtifactMismatch(
    `${blobKey(stage)} is damaged: found a job of digest ${digest}. Restore it from a replica or an older version of the object.`,
  );
}

/**
 * The head of a trial that trains this job, whichever code of the trainer it began with; null where none does. Its
 * stage is the name under which whoever asks goes on.
 */
export async function findBegun(
  store: Store,
  trial: TrialPath,
  job: { code: string },
): Promise<Head | null> {
  const head = (await readHead(store, trial))?.value ?? null;
  if (head === null || head.stage === stageDigest(job)) return head;
  const found = await store.get(blobKey(head.stage));
  if (found === null) return null;
  // As it was written: its digest is of what its own version kept.
  const { code: began, ...rest } = JSON.parse(
    Buffer.from(found.bytes).toString('utf8'),
  ) as typeof job;
  const { code: _here, ...asked } = job;
  return began !== undefined && canonicalJson(rest) === canonicalJson(asked) ? head : null;
}
