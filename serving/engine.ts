/**
 * Entry file of an engine process: one bundle, one ONNX session. A forward pass blocks its process,
 * and a session's memory comes back only with its process, so each bundle has its own. It answers
 * the probe before it calls itself ready, and ends when its parent is gone.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { servingConfigSchema } from '../config/manifests.ts';
import type { EngineParts } from './engine-generate.ts';
import { generate } from './engine-generate.ts';
import { openModel } from './engine-model.ts';
import { answerProbe } from './engine-probe.ts';
import { openStepQueue } from './engine-queue.ts';
import { openTextCodec } from './engine-text.ts';
import { isFaultOfMachine, ServingError, UnservableError } from './errors.ts';
import type { FromEngine, ProbeOutcome, ToEngine } from './protocol.ts';

/** Each active job holds a key-value cache. */
const maxActive = 8;

process.on('disconnect', () => process.exit(0));
// The parent decides when this process ends; a Ctrl-C in the terminal reaches the whole group.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

function send(message: FromEngine): void {
  if (process.connected) process.send!(message);
}

async function open(folder: string): Promise<{ parts: EngineParts; probe: ProbeOutcome }> {
  const config = servingConfigSchema.parse(
    JSON.parse(await readFile(path.join(folder, 'serving.json'), 'utf8')),
  );
  const text = await openTextCodec(folder, config);
  const model = await openModel(folder, config, Math.min(2, availableParallelism()));
  return { parts: { config, model, text }, probe: await answerProbe(folder, model) };
}

function serve(parts: EngineParts): void {
  const queue = openStepQueue(maxActive);
  process.on('message', (message: ToEngine) => {
    const { id } = message;
    if (message.type === 'cancel') return queue.cancel(id);
    if (message.type === 'stats') return send({ type: 'stats', id, stats: queue.stats() });
    const work = generate(parts, message.job, (piece) => send({ type: 'piece', id, piece }));
    queue.add(id, work, (outcome) => {
      if ('value' in outcome) send({ type: 'end', id, usage: outcome.value });
      else send({ type: 'refused', id, ...refusal(outcome.error) });
    });
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
  const { parts, probe } = await open(folder);
  serve(parts);
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
