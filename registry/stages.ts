/** Finished stages, found by the digest of their inputs: run a stage twice and the second time is a look-up. */
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { canonicalJson } from '../config/digest.ts';
import { encodeRecord, readRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

/** Digest of everything that decides a stage's output: inputs, configuration, code version. */
export function stageDigest(parts: unknown): string {
  return createHash('sha256').update(canonicalJson(parts)).digest('hex');
}

function stageKey(stage: string, digest: string): string {
  return `stages/${keyPart('stage', stage)}/${keyPart('digest', digest)}.json`;
}

/** The manifest of a stage that is done; null when it is not. */
export async function findStage<T>(
  store: Store,
  stage: string,
  digest: string,
  schema: z.ZodType<T>,
): Promise<T | null> {
  return (await readRecord(store, stageKey(stage, digest), schema))?.value ?? null;
}

/** Records a finished stage. The first manifest wins; whoever comes later gets the winner's. */
export async function recordStage<T>(
  store: Store,
  stage: string,
  digest: string,
  schema: z.ZodType<T>,
  manifest: T,
): Promise<T> {
  const value = schema.parse(manifest);
  if (await store.putIfAbsent(stageKey(stage, digest), encodeRecord(value))) return value;
  return (await findStage(store, stage, digest, schema)) ?? value;
}
