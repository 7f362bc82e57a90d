/** The evaluation's server: the one that would serve the bundle, on the bundle alone. */
import { createInterface } from 'node:readline';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { execa } from 'execa';
import { z } from 'zod';
import { FailureType } from '../config/failures.ts';
import { childEnvironment } from './child-environment.ts';
import type { Deps } from './deps.ts';
import type { Say } from './heartbeats.ts';

/** It loads the model and answers the probe in silence; a slow machine takes its time. */
const startLimitMs = 300_000;

const readySchema = z.union([
  z.looseObject({ ok: z.literal(true), url: z.url(), probeDifference: z.number() }),
  z.looseObject({ ok: z.literal(false), message: z.string() }),
]);

export interface EvaluationServer extends AsyncDisposable {
  url: string;
  /** What the model is called in a request. */
  name: string;
  probeDifference: number;
}

/**
 * Throws `ModelNotServable` where the bundle fails its probe. The server ends with the attempt, and with its
 * standard input, so it cannot outlive this worker.
 */
export async function startServer(
  deps: Deps,
  { bundle, apiKeyFile, say }: { bundle: string; apiKeyFile: string; say: Say },
  limitMs = startLimitMs,
): Promise<EvaluationServer> {
  const name = 'candidate';
  const options = ['--bundle', bundle, '--name', name, '--api-key-file', apiKeyFile, '--port', '0'];
  const child = execa(process.execPath, ['serving/local.ts', ...options], {
    cwd: deps.projectDir,
    stdin: 'pipe',
    stderr: 'inherit',
    buffer: false,
    reject: false,
    cancelSignal: Context.current().cancellationSignal,
    forceKillAfterDelay: 5000,
    extendEnv: false,
    env: childEnvironment(),
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await child;
  };
  say({ kind: 'serve' });
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, limitMs);
  try {
    // Not the child's own iterator: leaving it would wait for the child to end.
    for await (const line of createInterface({ input: child.stdout })) {
      say({ kind: 'serve', line: line.slice(0, 200) });
      const ready = readySchema.safeParse(parseJson(line));
      if (!ready.success) continue;
      if (!ready.data.ok) {
        throw ApplicationFailure.nonRetryable(ready.data.message, FailureType.ModelNotServable);
      }
      const { url, probeDifference } = ready.data;
      child.stdout.resume();
      return { url, name, probeDifference, [Symbol.asyncDispose]: stop };
    }
    throw new Error(
      late
        ? `the evaluation's server was not ready in ${limitMs / 1000} s; is the machine overloaded?`
        : `the evaluation's server ended before it was ready; the log of this worker says why`,
    );
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(limit);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
