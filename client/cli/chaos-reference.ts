/**
 * The digests of an undisturbed run, kept so that several seeds need only one of them. They hold as
 * long as nothing that decides the bits has changed: files, lockfiles, sources, kind of machine.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { canonicalJson, sha256Schema } from '../../config/digest.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import type { Machine } from '../../config/recipe.ts';
import { digestCode } from '../../infra/code.ts';

const referenceSchema = z.strictObject({
  schemaVersion: z.literal(1),
  madeAt: z.iso.datetime(),
  durationMs: z.number(),
  digests: z.strictObject({
    tokenizer: sha256Schema,
    weights: sha256Schema,
    onnx: sha256Schema,
    bundle: sha256Schema,
  }),
});
export type Reference = z.infer<typeof referenceSchema>;

export interface ReferenceInputs {
  projectDir: string;
  pipeline: Pipeline;
  baseDir: string;
  machine: Machine;
}

/** Digest of everything that may change the bits of a run. */
export async function referenceDigest(inputs: ReferenceInputs): Promise<string> {
  const { projectDir, pipeline, baseDir, machine } = inputs;
  const code = digestCode(projectDir);
  const sources: unknown[] = [];
  for (const source of pipeline.data.sources ?? []) {
    if ('path' in source) sources.push(...(await listSource(path.resolve(baseDir, source.path))));
  }
  const { memoryBytes: _, ...kind } = machine;
  return sha256(Buffer.from(canonicalJson({ code, pipeline, sources, machine: kind })));
}

/** A kept reference, or null when there is none that can be read. */
export function readReference(folder: string, digest: string): Reference | null {
  try {
    return referenceSchema.parse(JSON.parse(readFileSync(fileOf(folder, digest), 'utf8')));
  } catch {
    return null;
  }
}

/** Keeps a reference; it appears whole. */
export function writeReference(folder: string, digest: string, reference: Reference): void {
  mkdirSync(folder, { recursive: true });
  const file = fileOf(folder, digest);
  writeFileSync(`${file}.part`, `${JSON.stringify(reference, null, 2)}\n`);
  renameSync(`${file}.part`, file);
}

function fileOf(folder: string, digest: string): string {
  return path.join(folder, `reference-${digest.slice(0, 16)}.json`);
}

/** Name, length and time of each file: enough to see that a folder is as it was. */
async function listSource(folder: string): Promise<unknown[]> {
  const describe = (file: string, name: string) => {
    const { size, mtimeMs } = statSync(file);
    return [name, size, Math.round(mtimeMs)];
  };
  if (statSync(folder).isFile()) return [describe(folder, path.basename(folder))];
  const found: string[] = [];
  for await (const entry of glob('**/*', { cwd: folder, withFileTypes: true })) {
    if (entry.isFile()) found.push(path.join(entry.parentPath, entry.name));
  }
  return found.toSorted().map((file) => describe(file, path.relative(folder, file)));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
