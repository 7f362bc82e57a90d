/** Turns texts into vectors: a few rows of about the same length at a time, so that jobs can take turns. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import ort from 'onnxruntime-node';
import { Tokenizer } from 'tokenizers';
import type { EmbeddingConfig } from '../config/manifests.ts';
import { expectNames, openSession } from './engine-model.ts';
import { badRequest } from './errors.ts';
import type { EmbeddingJob, Usage } from './protocol.ts';

/** Tokens of a forward pass, padding included: bounds its memory and the turn of one job. */
const batchTokens = 2048;

export interface Encoder {
  readonly config: EmbeddingConfig;
  /** Token ids between two boundaries; throws a ServingError (400) that says what is wrong with it. */
  encode(input: EmbeddingJob['inputs'][number]): Promise<number[]>;
  /** The vector of each row, of length 1; shorter rows are padded. */
  forward(rows: readonly (readonly number[])[]): Promise<Float32Array[]>;
}

/** Loads model.onnx and the tokenizer; throws a sentence when they do not belong together. */
export async function openEncoder(
  folder: string,
  config: EmbeddingConfig,
  threads: number,
): Promise<Encoder> {
  const session = await openSession(folder, threads);
  expectNames('inputs', session.inputNames, ['input_ids', 'attention_mask']);
  expectNames('outputs', session.outputNames, ['last_hidden_state', 'sentence_embedding']);
  const tokenizer = Tokenizer.fromString(
    await readFile(path.join(folder, 'tokenizer.json'), 'utf8'),
  );
  const idOf = (token: string, field: string): number => {
    const id = tokenizer.tokenToId(token);
    if (id !== null) return id;
    throw new Error(`serving.json ${field}: tokenizer.json has no token ${JSON.stringify(token)}`);
  };
  const boundary = idOf(config.boundaryToken, 'boundaryToken');
  const pad = idOf(config.padToken, 'padToken');
  const { dimensions, vocabSize } = config;

  return {
    config,
    async encode(input) {
      if (input.kind === 'text') {
        const encoding = await tokenizer.encode(input.text, null, { addSpecialTokens: false });
        return [boundary, ...encoding.getIds(), boundary];
      }
      const wrong = input.ids.find((id) => id >= vocabSize);
      if (wrong !== undefined) {
        throw badRequest(
          `input: found token id ${wrong}, expected ids below the vocabulary's ${vocabSize}`,
          'input',
        );
      }
      const isWhole =
        input.ids.length > 1 && input.ids[0] === boundary && input.ids.at(-1) === boundary;
      return isWhole ? input.ids : [boundary, ...input.ids, boundary];
    },
    async forward(rows) {
      const length = Math.max(...rows.map((row) => row.length));
      const ids = new BigInt64Array(rows.length * length).fill(BigInt(pad));
      const mask = new BigInt64Array(rows.length * length);
      for (const [at, row] of rows.entries()) {
        for (const [place, id] of row.entries()) {
          ids[at * length + place] = BigInt(id);
          mask[at * length + place] = 1n;
        }
      }
      const shape = [rows.length, length];
      const outputs = await session.run(
        {
          input_ids: new ort.Tensor('int64', ids, shape),
          attention_mask: new ort.Tensor('int64', mask, shape),
        },
        ['sentence_embedding'],
      );
      const all = outputs['sentence_embedding']!.data as Float32Array;
      return rows.map((_, at) => all.slice(at * dimensions, (at + 1) * dimensions));
    },
  };
}

/** Yields after every forward pass; emits the vectors of each; returns the token counts. */
export async function* embed(
  encoder: Encoder,
  { inputs }: EmbeddingJob,
  emit: (first: number, vectors: Float32Array[]) => void,
): AsyncGenerator<void, Usage, void> {
  const rows: number[][] = [];
  for (const [index, input] of inputs.entries()) {
    const ids = await encoder.encode(input);
    checkLength(encoder.config, ids, inputs.length > 1 ? `input ${index}` : 'the input');
    rows.push(ids);
  }
  for (let first = 0; first < rows.length;) {
    const batch = [rows[first]!];
    let longest = batch[0]!.length;
    for (const row of rows.slice(first + 1)) {
      longest = Math.max(longest, row.length);
      if (longest * (batch.length + 1) > batchTokens) break;
      batch.push(row);
    }
    emit(first, await encoder.forward(batch));
    first += batch.length;
    yield;
  }
  return { promptTokens: rows.reduce((sum, row) => sum + row.length, 0), completionTokens: 0 };
}

function checkLength({ contextLength }: EmbeddingConfig, ids: number[], what: string): void {
  if (ids.length <= 2) throw badRequest(`${what} has no tokens`, 'input');
  if (ids.length <= contextLength) return;
  throw badRequest(
    `${what} has ${ids.length} tokens with the two around it; the model reads ${contextLength} at most. Shorten it, or part it.`,
    'input',
    'context_length_exceeded',
  );
}
