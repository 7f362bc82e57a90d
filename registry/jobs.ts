/** Jobs of training: what a stage digest stands for, kept under it, so that a model's recipe and corpus can be read. */
import { canonicalJson } from '../config/digest.ts';
import { trainedJobSchema, type TrainedJob } from '../config/run-records.ts';
import { blobKey, putBlob } from './blobs.ts';
import { ArtifactMismatch } from './errors.ts';
import { decodeRecord } from './json.ts';
import { stageDigest } from './stages.ts';
import type { Store } from './store.ts';

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
