/** Tiny servable bundles, made once a machine by `make_bundle.py` and kept in the temporary folder. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { bundleManifestSchema, type BundleManifest } from '../../config/manifests.ts';
import { putBlobFolder } from '../../registry/blobs.ts';
import type { Store } from '../../registry/store.ts';

const run = promisify(execFile);
const projectDir = path.resolve(import.meta.dirname, '../..');

interface Continuation {
  ids: number[];
  /** Greedy, by PyTorch. */
  greedy: number[];
  completion: string;
}

export interface TestBundles {
  chat: string;
  /** The same weights, chat false. */
  base: string;
  /** Other weights. */
  other: string;
  /** A model that embeds text. */
  embedder: string;
  /** The tokenizer in transformers' layout. */
  tokenizer: string;
  expected: {
    prompt: Continuation & { text: string };
    chat: Continuation;
    /** Log-probability of each id after the first. */
    scored: { ids: number[]; logprobs: number[] };
    /** Texts, their ids between two boundaries, and their vectors by PyTorch. */
    embedded: { texts: string[]; ids: number[][]; vectors: number[][] };
    weights: string;
  };
}

export const python = path.join(projectDir, '.venv/bin/python');

/** The folders; the first call on a machine takes seconds. */
export async function testBundles(): Promise<TestBundles> {
  const script = path.join(import.meta.dirname, 'make_bundle.py');
  const digest = createHash('sha256')
    .update(await readFile(script))
    .digest('hex');
  const root = path.join(tmpdir(), `temper-test-bundles-${digest.slice(0, 16)}`);
  const read = async (): Promise<TestBundles> => ({
    chat: path.join(root, 'chat'),
    base: path.join(root, 'base'),
    other: path.join(root, 'other'),
    embedder: path.join(root, 'embedder'),
    tokenizer: path.join(root, 'tokenizer'),
    expected: JSON.parse(await readFile(path.join(root, 'expected.json'), 'utf8')),
  });
  try {
    return await read();
  } catch {
    const aside = await mkdtemp(path.join(tmpdir(), 'temper-make-bundles-'));
    await run(python, [script, aside], { env: { ...process.env, HF_HUB_OFFLINE: '1' } });
    // Two test files may make them at once: the first one's stay.
    await rename(aside, root).catch(() => rm(aside, { recursive: true, force: true }));
    return read();
  }
}

/** Puts a bundle folder into a store. */
export async function uploadBundle(
  store: Store,
  folder: string,
  weights: string,
): Promise<BundleManifest> {
  const files = await putBlobFolder(store, folder);
  return bundleManifestSchema.parse({ schemaVersion: 1, files, weights });
}
