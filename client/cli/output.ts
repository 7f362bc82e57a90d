/** What a command prints and how it ends: text or one line of JSON, and an exit code that scripts can trust. */
import path from 'node:path';
import { homeFolder } from '../../infra/layout.ts';
import { ClientError, rootMessage, type ClientErrorKind } from '../errors.ts';
import { PipelineFileError } from '../pipeline-fault.ts';
import { PlacedError } from '../placed.ts';
import { Interrupted } from './interrupt.ts';
import { showWaiting } from './waiting.ts';

export const ExitCode = {
  ok: 0,
  failed: 1,
  wrongInput: 2,
  unreachable: 3,
  interrupted: 130,
} as const;

export interface CommonOptions {
  json?: boolean;
}

/** A line of text for people; under --json they are not printed. */
export function say(options: CommonOptions, line = ''): void {
  if (options.json !== true) process.stdout.write(`${line}\n`);
}

/** The answer of a command for programs, on one line. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Runs a command; sets the exit code and prints what went wrong. */
export async function finish(options: CommonOptions, work: () => Promise<number>): Promise<void> {
  // Whoever read our output has gone (`| head`): nothing is left to say, and nothing went wrong.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(ExitCode.ok);
    throw error;
  });
  const hideWaiting = options.json === true ? () => {} : showWaiting();
  let code: number;
  try {
    code = await work();
  } catch (error) {
    code = report(error, options);
  }
  hideWaiting();
  process.exitCode = code;
  // Idle connections and timers of libraries must not keep a finished command alive.
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  process.exit(code);
}

/** Prints an error and says which exit code it means. */
export function report(error: unknown, options: CommonOptions): number {
  if (error instanceof Interrupted) {
    if (options.json === true)
      printJson({ error: { kind: 'interrupted', message: error.message } });
    process.stderr.write(`\n${error.message}\n`);
    return ExitCode.interrupted;
  }
  const kind = kindOf(error);
  const message = rootOf(error);
  if (options.json === true) {
    const faults = error instanceof PipelineFileError ? { faults: error.faults } : {};
    const place = error instanceof PlacedError ? { place: error.place } : {};
    printJson({ error: { kind, message, ...faults, ...place } });
  }
  process.stderr.write(`${message}\n`);
  if (process.env['TEMPER_DEBUG'] !== undefined && error instanceof Error) {
    process.stderr.write(`${error.stack}\n`);
  }
  return exitCodes[kind];
}

const exitCodes: Record<ClientErrorKind, number> = {
  failed: ExitCode.failed,
  input: ExitCode.wrongInput,
  unreachable: ExitCode.unreachable,
};

function kindOf(error: unknown): ClientErrorKind {
  if (error instanceof PipelineFileError) return 'input';
  if (error instanceof ClientError) return error.kind;
  // A store that is away and one that refuses us or cannot be trusted: neither can be used.
  return error instanceof Error && error.name.startsWith('Store') ? 'unreachable' : 'failed';
}

function rootOf(error: unknown): string {
  if (error instanceof ClientError || error instanceof PipelineFileError) return error.message;
  if (error instanceof Error && error.name.startsWith('Store')) {
    return localKeysRefused(error, process.env) ?? error.message;
  }
  const message = error instanceof Error ? error.message : String(error);
  const root = rootMessage(error);
  return root === message || message.includes(root) ? message : `${message}: ${root}`;
}

/** The keys of the local stack are its own: nobody set them, so nobody can correct them in the shell. */
export function localKeysRefused(
  error: Error,
  env: Record<string, string | undefined>,
): string | null {
  const { $metadata } = (error.cause ?? {}) as { $metadata?: { httpStatusCode?: number } };
  const refused = [401, 403].includes($metadata?.httpStatusCode ?? 0);
  if (!refused || (env['TEMPORAL_ADDRESS'] ?? '') !== '') return null;
  const file = path.join(homeFolder(env), 'secrets.json');
  return `S3 of the local stack refused the keys in ${file}: the file was changed or deleted while the stack ran. \`npx temper down\` and \`npx temper up\` start it with these keys; its data stay.`;
}
