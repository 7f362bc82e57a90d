/**
 * Entry file: serves one bundle folder without a registry, for evaluation before a model is
 * registered. `node serving/local.ts --bundle DIR --name NAME --api-key-file FILE --port 0` prints
 * one JSON line when it is ready, or when the bundle is not servable, and ends when its standard input closes.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { FailureType } from '../config/failures.ts';
import { stageDigest } from '../registry/stages.ts';
import { createApp } from './app.ts';
import { describeFile } from './bundles.ts';
import { createEndpoint } from './endpoint.ts';
import { UnservableError } from './errors.ts';
import { openKeyRing } from './keys.ts';
import { listen } from './listen.ts';

const usage =
  'usage: node serving/local.ts --bundle DIR --name NAME --api-key-file FILE [--port N] [--digest SHA256]';

function say(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: 'string' },
      name: { type: 'string' },
      'api-key-file': { type: 'string' },
      port: { type: 'string', default: '0' },
      digest: { type: 'string' },
    },
  });
  const { bundle: folder, name, 'api-key-file': keyFile, digest } = values;
  if (folder === undefined || name === undefined || keyFile === undefined) throw new Error(usage);
  const log = pino({ level: 'warn' }, pino.destination(2));
  const endpoint = createEndpoint(name, log);
  const { difference } = await endpoint.activate({
    model: name,
    version: 0,
    bundle: digest ?? (await folderDigest(folder)),
    generation: 0,
    folder,
  });
  const app = createApp({
    keys: openKeyRing(keyFile, log),
    endpoints: () => [endpoint],
    log,
    now: () => new Date(),
  });
  const listener = await listen(app, Number(values.port));
  let ending = false;
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    await Promise.all([listener.close(10_000), endpoint.stop()]);
    process.exit(0);
  };
  process.on('SIGTERM', () => void end());
  process.on('SIGINT', () => void end());
  process.stdin.on('end', () => void end()).on('close', () => void end());
  process.stdin.on('error', () => void end()).resume();
  say({ ok: true, url: listener.url, probeDifference: difference });
}

/** Names a folder that has no manifest yet by the digest of its files. */
async function folderDigest(folder: string): Promise<string> {
  const names = (await readdir(folder)).toSorted();
  const files = await Promise.all(
    names.map(async (file) => [file, await describeFile(path.join(folder, file))]),
  );
  return stageDigest({ files: Object.fromEntries(files) });
}

try {
  await main();
} catch (error) {
  // Whatever else goes wrong may go right the next time, and is no verdict on the bundle.
  if (!(error instanceof UnservableError)) throw error;
  const { message, difference } = error;
  say({ ok: false, type: FailureType.ModelNotServable, message, probeDifference: difference });
  process.exit(1);
}
