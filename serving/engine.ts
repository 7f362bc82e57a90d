/**
 * Entry file of an engine process: one bundle, one ONNX session. A forward pass blocks its process,
 * and a session's memory comes back only with its process, so each bundle has its own. It answers
 * the probe before it calls itself ready, and ends when its parent is gone.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { bundleConfigSchema, servesEmbeddings } from '../config/manifests.ts';
import { embed, openEncoder } from './engine-embed.ts';
import { generate } from './engine-generate.ts';
import { openModel } from './engine-model.ts';
import { answerEmbeddingProbe, answerProbe } from './engine-probe.ts';
import { openStepQueue } from './engine-queue.ts';
import { openTextCodec } from './engine-text.ts';
import { badRequest, isFaultOfMachine, ServingError, UnservableError } from './errors.ts';
import { asksVectors } from './protocol.ts';
import type { EmbeddingJob, FromEngine, Job, ProbeOutcome, ToEngine, Usage } from './protocol.ts';

/** Each active job holds a key-value cache. */
const maxActive = 8;

process.on('disconnect', () => process.exit(0));
// The parent decides when this process ends; a Ctrl-C in the terminal reaches the whole group.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

function send(message: FromEngine): void {
  if (process.connected) process.send!(message);
}

/** Does a job; what it makes on the way is sent under its number. */
type Work = (id: number, job: Job | EmbeddingJob) => AsyncGenerator<void, Usage, void>;

async function open(folder: string): Promise<{ work: Work; probe: ProbeOutcome }> {
  const config = bundleConfigSchema.parse(
    JSON.parse(await readFile(path.join(folder, 'serving.json'), 'utf8')),
  );
  const threads = Math.min(2, availableParallelism());
  if (servesEmbeddings(config)) {
    const encoder = await openEncoder(folder, config, threads);
    const work: Work = (id, job) => {
      if (!asksVectors(job)) throw continuesNothing();
      return embed(encoder, job, (first, vectors) => send({ type: 'vectors', id, first, vectors }));
    };
    return { work, probe: await answerEmbeddingProbe(folder, encoder) };
  }
  const text = await openTextCodec(folder, config);
  const model = await openModel(folder, config, threads);
  const parts = { config, model, text };
  const work: Work = (id, job) => {
    if (asksVectors(job)) throw embedsNothing(config.chat);
    return generate(parts, job, (piece) => send({ type: 'piece', id, piece }));
  };
  return { work, probe: await answerProbe(folder, model) };
}

function continuesNothing(): ServingError {
  return badRequest(
    'this model turns texts into vectors and continues none: use POST /v1/embeddings, or deploy a model with goal base or assistant',
    'model',
    'completions_not_supported',
  );
}

function embedsNothing(chat: boolean): ServingError {
  return badRequest(
    `this model makes no vectors: use POST /v1/${chat ? 'chat/' : ''}completions, or deploy a model with goal embeddings`,
    'model',
    'embeddings_not_supported',
  );
}

function serve(work: Work): void {
  const queue = openStepQueue(maxActive);
  process.on('message', (message: ToEngine) => {
    const { id } = message;
    if (message.type === 'cancel') return queue.cancel(id);
    if (message.type === 'stats') return send({ type: 'stats', id, stats: queue.stats() });
    const refuse = (error: unknown): void => send({ type: 'refused', id, ...refusal(error) });
    try {
      queue.add(id, work(id, message.job), (outcome) => {
        if ('value' in outcome) send({ type: 'end', id, usage: outcome.value });
        else refuse(outcome.error);
      });
    } catch (error) {
      refuse(error);
    }
  });
}

function refusal(error: unknown): Omit<FromEngine & { type: 'refused' }, 'type' | 'id'> {
  if (error instanceof ServingError) {
    const { param, code } = error.detail;
    return {
      status: error.status,
      message: error.message,
      ...(param === undefined ? {} : { param }),
      ...(code === undefined ? {} : { code }),
    };
  }
  console.error(error);
  return { status: 500, message: `the engine failed: ${(error as Error).message}` };
}

const folder = process.argv[2];
if (folder === undefined || process.send === undefined) {
  throw new Error('serving/engine.ts is started by a serving node, with the folder of a bundle');
}
try {
  const { work, probe } = await open(folder);
  serve(work);
  send({ type: 'ready', probe });
} catch (error) {
  // The process ends without a verdict, and the node tries again.
  if (isFaultOfMachine(error)) throw error;
  const difference = error instanceof UnservableError ? error.difference : null;
  const message = error instanceof Error ? error.message : String(error);
  send({ type: 'unservable', message, difference });
  process.exitCode = 1;
  process.disconnect();
}
