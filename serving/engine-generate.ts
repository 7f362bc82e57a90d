/** Answers one job, one forward pass at a time, so that the step queue can take turns between jobs. */
import type { ServingConfig } from '../config/manifests.ts';
import type { Model } from './engine-model.ts';
import { logSumExp, sample, seededRandom, topIds } from './engine-sampling.ts';
import type { TextCodec } from './engine-text.ts';
import { openTextStream } from './engine-text.ts';
import { badRequest } from './errors.ts';
import type { FinishReason, Job, Piece, TokenDetail, Usage } from './protocol.ts';

/** Prompts are read in chunks of so many tokens: bounds the memory for logits and the turn of one job. */
const chunkTokens = 512;

export interface EngineParts {
  config: ServingConfig;
  model: Model;
  text: TextCodec;
}

/** Yields after every forward pass; emits pieces as it goes; returns the token counts. */
export async function* generate(
  parts: EngineParts,
  job: Job,
  emit: (piece: Piece) => void,
): AsyncGenerator<void, Usage, void> {
  const prompts: number[][] = [];
  for (const [index, prompt] of job.prompts.entries()) {
    const ids = await parts.text.encode(prompt);
    checkLength(parts.config, job, ids, job.prompts.length > 1 ? `prompt ${index}` : 'the prompt');
    prompts.push(ids);
  }
  const seed = job.seed ?? Math.floor(Math.random() * 2 ** 32);
  const usage: Usage = { promptTokens: 0, completionTokens: 0 };
  for (const [index, ids] of prompts.entries()) {
    const buffered = job.stream ? null : openBuffer(index);
    const write = buffered?.write ?? emit;
    usage.promptTokens += ids.length;
    usage.completionTokens += yield* answer(parts, job, ids, index, seed + index, write);
    if (buffered !== null) emit(buffered.piece);
  }
  return usage;
}

function checkLength(config: ServingConfig, job: Job, ids: number[], what: string): void {
  const room = job.maxTokens === 0 ? 0 : 1;
  if (ids.length === 0) throw badRequest(`${what} has no tokens`, 'prompt');
  if (ids.length + room <= config.contextLength) return;
  throw badRequest(
    `${what} has ${ids.length} tokens; the model's context is ${config.contextLength} tokens, of which an answer needs at least ${room}. Shorten it.`,
    job.prompts[0]?.kind === 'chat' ? 'messages' : 'prompt',
    'context_length_exceeded',
  );
}

function openBuffer(index: number): { piece: Piece; write: (piece: Piece) => void } {
  const piece: Piece = { index, text: '', tokens: [], finishReason: null };
  return {
    piece,
    write(more) {
      piece.text += more.text;
      for (const token of more.tokens) piece.tokens.push(token);
      piece.finishReason = more.finishReason;
    },
  };
}

/** One prompt; returns the number of tokens generated. */
async function* answer(
  parts: EngineParts,
  job: Job,
  promptIds: number[],
  index: number,
  seed: number,
  emit: (piece: Piece) => void,
): AsyncGenerator<void, number, void> {
  const { config, model, text } = parts;
  const { vocabSize } = model;
  const cache = model.newCache();
  const sampling = {
    temperature: job.temperature,
    topP: job.topP,
    random: seededRandom(seed),
  };
  let offset = 0;
  const detail = (id: number, logits: Float32Array | null): TokenDetail[] => {
    if (job.logprobs === null) return [];
    const sum = logits === null ? 0 : logSumExp(logits);
    return [
      {
        bytes: text.bytes(id),
        logprob: logits === null ? null : logits[id]! - sum,
        top:
          logits === null
            ? []
            : topIds(logits, job.logprobs).map((other) => ({
                bytes: text.bytes(other),
                logprob: logits[other]! - sum,
              })),
        offset,
      },
    ];
  };

  const echo = openTextStream([]);
  let echoed: Piece = { index, text: '', tokens: [], finishReason: null };
  let last: number | null = null;
  const echoToken = (id: number, before: Float32Array | null): void => {
    echoed.tokens.push(...detail(id, before));
    const more = echo.push(text.textBytes(id, last));
    echoed.text += more;
    offset += more.length;
  };
  let logits: Float32Array | null = null;
  for (let start = 0; start < promptIds.length; start += chunkTokens) {
    const chunk = promptIds.slice(start, start + chunkTokens);
    const rows = await model.forward(chunk, cache);
    for (let place = 0; place < chunk.length; place++) {
      if (job.echo) echoToken(chunk[place]!, logits);
      last = chunk[place]!;
      logits = rows.subarray(place * vocabSize, (place + 1) * vocabSize);
    }
    yield;
  }
  if (job.echo) {
    const rest = echo.end();
    echoed.text += rest;
    offset += rest.length;
    emit(echoed);
    echoed = { index, text: '', tokens: [], finishReason: null };
  }

  const wanted = job.maxTokens ?? config.maxNewTokens;
  const limit = Math.min(wanted, config.contextLength - promptIds.length);
  const stream = openTextStream(job.stop);
  let finishReason: FinishReason = 'length';
  let count = 0;
  while (count < limit) {
    const id = sample(logits!, sampling);
    const tokens = detail(id, logits);
    count += 1;
    const isEnd = text.isEnd(id);
    const more = stream.push(isEnd ? new Uint8Array() : text.textBytes(id, last));
    last = id;
    offset += more.length;
    if (isEnd || stream.stopped) finishReason = 'stop';
    if (more !== '' || tokens.length > 0) emit({ index, text: more, tokens, finishReason: null });
    if (finishReason === 'stop' || count === limit) break;
    logits = await model.forward([id], cache);
    yield;
  }
  emit({ index, text: stream.end(), tokens: [], finishReason });
  return count;
}
