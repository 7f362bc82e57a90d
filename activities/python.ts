/**
 * Runs one short-lived module of the trainer (import, measure, rehearse, tokenizer, export, evaluate): configuration in a file,
 * one JSON object on the last line of its output. Such a module ends itself when its parent is gone.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { execa } from 'execa';
import { z } from 'zod';
import { FailureType } from '../config/failures.ts';
import { childEnvironment } from './child-environment.ts';
import type { Deps } from './deps.ts';
import type { Say } from './heartbeats.ts';

const outcomeSchema = z.union([
  z.looseObject({ ok: z.literal(true) }),
  z.looseObject({ ok: z.literal(false), type: z.string(), message: z.string() }),
]);

/** No module is silent for so long while it works. */
const silenceLimitMs = 600_000;

/**
 * Resolves with the object that the module printed last. Says each line, and ends the module when it hangs or
 * the attempt is over. Throws non-retryably when the module names one of our failure types, retryably otherwise.
 */
export async function runTrainerModule(
  deps: Deps,
  module:
    | 'import_base'
    | 'measure'
    | 'rehearse'
    | 'tokenizer'
    | 'export'
    | 'evaluate'
    | 'evaluate_encoder',
  config: unknown,
  workDir: string,
  say: Say,
): Promise<Record<string, unknown>> {
  const configFile = path.join(workDir, `${module}.json`);
  await writeFile(configFile, JSON.stringify(config));
  const context = Context.current();
  const child = execa(deps.python, ['-m', `trainer.${module}`, '--config', configFile], {
    cwd: deps.projectDir,
    stdin: 'ignore',
    stderr: 'pipe',
    reject: false,
    cancelSignal: context.cancellationSignal,
    forceKillAfterDelay: 5000,
    maxBuffer: 4_000_000,
    extendEnv: false,
    env: childEnvironment({
      PYTHONUNBUFFERED: '1',
      HF_HUB_OFFLINE: '1',
      TOKENIZERS_PARALLELISM: 'true',
      TEMPER_PARENT_PID: String(process.pid),
      // What a killed one leaves goes with the work folder.
      TMPDIR: workDir,
    }),
  });
  let last = '';
  let heardAt = Date.now();
  // Loading libraries prints nothing for long; only a silence beyond any honest work is a hang.
  const hang = setInterval(() => {
    if (Date.now() - heardAt > silenceLimitMs) child.kill('SIGKILL');
  }, 2000);
  say({ kind: module });
  try {
    for await (const line of child) {
      heardAt = Date.now();
      if (line.trim() === '') continue;
      last = line;
      say({ kind: module, line: wordsOf(line).slice(0, 200) });
    }
  } finally {
    clearInterval(hang);
  }
  const { exitCode, stderr, isCanceled } = await child;
  if (isCanceled) await context.cancelled;
  const outcome = outcomeSchema.safeParse(parseJson(last));
  if (!outcome.success) {
    const tail = stderr.trim().split('\n').slice(-3).join(' | ');
    throw new Error(`trainer.${module} exited with ${exitCode} and no result: ${tail.slice(-800)}`);
  }
  if (outcome.data.ok) return outcome.data;
  const { type, message } = outcome.data;
  if (type in FailureType) throw ApplicationFailure.nonRetryable(message, type);
  throw ApplicationFailure.create({ message, type });
}

const progressSchema = z.object({ progress: z.string() });

/** What a module says of its progress, else the line as it stands. */
function wordsOf(line: string): string {
  const said = progressSchema.safeParse(parseJson(line));
  return said.success ? said.data.progress : line;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
