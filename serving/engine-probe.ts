/** The servability gate: the engine must answer what is fixed as PyTorch did when the bundle was made. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { embeddingProbeSchema, probeSchema } from '../config/manifests.ts';
import type { Encoder } from './engine-embed.ts';
import type { Model } from './engine-model.ts';
import { UnservableError } from './errors.ts';
import type { ProbeOutcome } from './protocol.ts';

/** Compares the logits after the prompt, then follows the greedy tokens; throws when they differ. */
export async function answerProbe(folder: string, model: Model): Promise<ProbeOutcome> {
  const probe = probeSchema.parse(
    JSON.parse(await readFile(path.join(folder, 'probe.json'), 'utf8')),
  );
  const { tolerance } = probe;
  if (probe.logits.length !== model.vocabSize) {
    throw new Error(
      `probe.json: found ${probe.logits.length} logits, expected ${model.vocabSize}, one for each token of the vocabulary`,
    );
  }
  const cache = model.newCache();
  const rows = await model.forward(probe.promptIds, cache);
  let logits = rows.subarray(rows.length - model.vocabSize);
  let difference = 0;
  for (const [id, expected] of probe.logits.entries()) {
    const distance = Math.abs(logits[id]! - expected);
    if (!(distance <= difference)) difference = distance;
  }
  if (!(difference <= tolerance)) {
    throw new UnservableError(
      `the probe's logits differ from PyTorch's by ${difference.toPrecision(3)}, allowed are ${tolerance}. Export the model again.`,
      difference,
    );
  }
  for (const [place, id] of probe.greedyIds.entries()) {
    const highest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
    // Two tokens within the tolerance of each other may change places.
    if (!(highest - logits[id]! <= 2 * tolerance)) {
      throw new UnservableError(
        `the probe's greedy token ${place} is ${id} in PyTorch; here its logit is ${(highest - logits[id]!).toPrecision(3)} below the highest. Export the model again.`,
        difference,
      );
    }
    logits = await model.forward([id], cache);
  }
  return { difference, tolerance };
}

/** Compares the vectors of texts that are read at once, the shorter ones padded, with PyTorch's, which read each alone. */
export async function answerEmbeddingProbe(
  folder: string,
  encoder: Encoder,
): Promise<ProbeOutcome> {
  const probe = embeddingProbeSchema.parse(
    JSON.parse(await readFile(path.join(folder, 'probe.json'), 'utf8')),
  );
  const { inputIds, embeddings, tolerance } = probe;
  const vectors = await encoder.forward(inputIds);
  let difference = 0;
  for (const [row, expected] of embeddings.entries()) {
    const vector = vectors[row];
    if (vector?.length !== expected.length) {
      throw new Error(
        `probe.json: found a vector of ${expected.length} numbers, expected ${vector?.length ?? 'none'}, as the model makes them`,
      );
    }
    for (const [at, number] of expected.entries()) {
      const distance = Math.abs(vector[at]! - number);
      if (!(distance <= difference)) difference = distance;
    }
  }
  if (!(difference <= tolerance)) {
    throw new UnservableError(
      `the probe's vectors differ from PyTorch's by ${difference.toPrecision(3)}, allowed are ${tolerance}. Export the model again.`,
      difference,
    );
  }
  return { difference, tolerance };
}
