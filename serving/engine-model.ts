/** The ONNX model of a bundle: token ids and a key-value cache in, logits out. Runs in the engine process only. */
import path from 'node:path';
import ort from 'onnxruntime-node';
import type { ServingConfig } from '../config/manifests.ts';

/** Keys and values of the tokens seen so far, of one sequence. */
export interface Cache {
  length: number;
  tensors: Record<string, ort.Tensor>;
}

export interface Model {
  readonly vocabSize: number;
  newCache(): Cache;
  /** Logits after each of the ids (rows of the vocabulary's width); the cache then holds them. */
  forward(ids: readonly number[], cache: Cache): Promise<Float32Array>;
}

/** Loads model.onnx; throws a sentence when its inputs are not those that this engine feeds. */
export async function openModel(
  folder: string,
  config: ServingConfig,
  threads: number,
): Promise<Model> {
  const session = await openSession(folder, threads);
  const { numLayers, numKvHeads, headDim, vocabSize } = config;
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const pasts = layers.flatMap((layer) =>
    ['key', 'value'].map((part) => [
      `past_key_values.${layer}.${part}`,
      `present.${layer}.${part}`,
    ]),
  ) as [string, string][];
  expectNames('inputs', session.inputNames, [
    'input_ids',
    'attention_mask',
    ...pasts.map(([past]) => past),
  ]);
  expectNames('outputs', session.outputNames, ['logits', ...pasts.map(([, present]) => present)]);
  const ones = new BigInt64Array(config.contextLength).fill(1n);

  return {
    vocabSize,
    newCache: () => ({
      length: 0,
      tensors: Object.fromEntries(
        pasts.map(([past]) => [
          past,
          new ort.Tensor('float32', new Float32Array(), [1, numKvHeads, 0, headDim]),
        ]),
      ),
    }),
    async forward(ids, cache) {
      const total = cache.length + ids.length;
      const outputs = await session.run({
        input_ids: new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
        attention_mask: new ort.Tensor('int64', ones.slice(0, total), [1, total]),
        ...cache.tensors,
      });
      for (const [past, present] of pasts) cache.tensors[past] = outputs[present]!;
      cache.length = total;
      return outputs['logits']!.data as Float32Array;
    },
  };
}

/** The session of a bundle's model.onnx. */
export async function openSession(folder: string, threads: number): Promise<ort.InferenceSession> {
  return await ort.InferenceSession.create(path.join(folder, 'model.onnx'), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 3,
    // Threads that spin while they wait take the cores from whoever else works on this machine.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
}

/** Throws a sentence when a model has other inputs or outputs than serving.json leads to expect. */
export function expectNames(what: string, found: readonly string[], expected: string[]): void {
  const missing = expected.filter((name) => !found.includes(name));
  const extra = found.filter((name) => !expected.includes(name));
  if (missing.length + extra.length === 0) return;
  throw new Error(
    `model.onnx ${what}: missing ${missing.join(', ') || 'none'}, unexpected ${extra.join(', ') || 'none'}. serving.json and the model do not belong together.`,
  );
}
