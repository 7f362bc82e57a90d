/** Small valid records for tests of the registry. */
import type { BlobRef } from '../../config/digest.ts';
import {
  corpusManifestSchema,
  type CheckpointManifest,
  type CorpusManifest,
  type DatasetManifest,
  type ModelManifest,
  type ModelVersion,
} from '../../config/manifests.ts';
import { putBlob } from '../../registry/blobs.ts';
import { latestDataset, registerDatasetAfter } from '../../registry/datasets.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { checkpointState } from '../../registry/training.ts';

export const digestOf = (letter: string): string => letter.repeat(64);

/** A checkpoint of one file. */
export function checkpointOf(step: number, fence: number, file: BlobRef): CheckpointManifest {
  const files = { 'model.safetensors': file };
  return { schemaVersion: 1, step, fence, files, state: checkpointState(files) };
}

/** A trained model of one file. */
export function modelOf(file: BlobRef, finalLoss = 3.5): ModelManifest {
  return {
    schemaVersion: 1,
    phase: 'pretrain',
    files: { 'model.safetensors': file },
    shape: {
      family: 'llama',
      vocabSize: 4096,
      hiddenSize: 64,
      intermediateSize: 128,
      numLayers: 2,
      numHeads: 4,
      numKvHeads: 2,
      contextLength: 128,
      ropeTheta: 10_000,
      tieEmbeddings: true,
    },
    machine: { device: 'cpu', cores: 2, memoryBytes: 8e9, instructionSet: 'avx2' },
    numSteps: 10,
    numTokens: 1000,
    finalLoss,
    exact: true,
  };
}

/** A dataset of no documents. */
export function datasetOf(name: string, digest: string): Omit<DatasetManifest, 'version'> {
  return {
    schemaVersion: 1,
    name,
    digest,
    sources: [],
    shards: [],
    numDocuments: 0,
    bytes: 0,
    dropped: {},
    droppedDocuments: null,
  };
}

/** Gives a dataset the next number, however many take one at once. */
export async function registerDataset(
  store: Store,
  manifest: Omit<DatasetManifest, 'version'>,
): Promise<DatasetManifest> {
  for (;;) {
    const newest = await latestDataset(store, manifest.name);
    const registered = await registerDatasetAfter(store, manifest, newest?.version ?? 0);
    if (registered !== null) return registered;
  }
}

/** A corpus of ten documents, none of which are stored. */
export function corpusOf(name: string): CorpusManifest {
  const blob = { sha256: digestOf('a'), bytes: 1 };
  return {
    schemaVersion: 1,
    dataset: { name, version: 1, digest: blob.sha256 },
    tokenizer: blob,
    vocabSize: 512,
    tokenBytes: 2,
    shards: [],
    heldOut: { documents: blob, tokens: blob, numDocuments: 1, numTokens: 100, bytes: 300 },
    instructions: null,
    statistics: {
      numDocuments: 10,
      kept: 10,
      dropped: {},
      redacted: {},
      numTokens: 200_000,
      bytes: 700_000,
      characters: 700_000,
      scripts: {},
    },
    droppedDocuments: blob,
  };
}

/** Records a corpus of one shard, whose tokens are also its held-out part; returns its digest. */
export async function storeCorpus(
  store: Store,
  {
    tokens = Uint16Array.of(1),
    tokenizer,
    index,
  }: { tokens?: Uint16Array; tokenizer?: BlobRef; index?: BlobRef } = {},
): Promise<string> {
  const blob = await putBlob(store, Buffer.from('{}'));
  const stored = await putBlob(store, Buffer.from(tokens.buffer));
  const corpus = corpusOf('test');
  const manifest: CorpusManifest = {
    ...corpus,
    tokenizer: tokenizer ?? blob,
    shards: [{ tokens: stored, index: index ?? blob, numDocuments: 1, numTokens: tokens.length }],
    heldOut: {
      documents: blob,
      tokens: stored,
      numDocuments: 1,
      numTokens: tokens.length,
      bytes: tokens.length,
    },
    statistics: { ...corpus.statistics, numTokens: tokens.length, bytes: tokens.length },
    droppedDocuments: blob,
  };
  const digest = stageDigest(manifest);
  await recordStage(store, 'preprocess', digest, corpusManifestSchema, manifest);
  return digest;
}

/** A model version that was not evaluated. */
export function versionOf(
  name: string,
  bundle: string,
  weights = digestOf('c'),
): Omit<ModelVersion, 'version' | 'createdAt'> {
  return {
    schemaVersion: 1,
    name,
    bundle: { digest: bundle, manifest: { schemaVersion: 1, files: {}, weights } },
    lineage: {
      run: `${name}-1`,
      dataset: { name, version: 1, digest: digestOf('d') },
      corpus: digestOf('e'),
      recipe: digestOf('f'),
      phases: [{ phase: 'pretrain', model: digestOf('b'), weights }],
      exact: true,
    },
    evaluations: {},
  };
}
