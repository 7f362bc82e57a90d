/**
 * What a command works on: a remote service when TEMPORAL_ADDRESS names one, else the stack of the
 * home folder, with its ports and keys.
 */
import { connectTemper, type TemperClient } from '../client.ts';
import { unreachable } from '../connection-faults.ts';
import { ClientError } from '../errors.ts';
import { requireDisk } from '../../infra/disk.ts';
import { homeFolder, layoutOf } from '../../infra/layout.ts';
import {
  isCodeCurrent,
  resolveStack,
  stackStatus,
  stackUp,
  stackEnvironment,
  type Stack,
} from '../../infra/stack.ts';
import { isSupervisorRunning } from '../../infra/supervisor.ts';
import { readDataKeys } from '../../registry/data-keys.ts';
import { openStore, type Store, type StoreOptions } from '../../registry/store.ts';
import { untilInterrupted } from './interrupt.ts';
import { painter, type Paint } from './text.ts';
import { say, type CommonOptions } from './output.ts';

export interface Context {
  /** null when TEMPORAL_ADDRESS names a remote service. */
  stack: Stack | null;
  env: Record<string, string | undefined>;
  store: Store;
}

/** Resolves the place that the environment names; contacts nothing. `patienceMs`: for a store that is down. */
export async function openContext({ patienceMs = 5000 } = {}): Promise<Context> {
  const remote = (process.env['TEMPORAL_ADDRESS'] ?? '') !== '';
  const stack = remote ? null : await resolveStack(homeFolder(process.env));
  const env = stack === null ? process.env : { ...process.env, ...stackEnvironment(stack) };
  const isDown =
    stack === null ? undefined : async () => !(await isSupervisorRunning(stack.layout));
  return { stack, env, store: storeOf(env, { patienceMs, isDown }) };
}

/** The client for a context. */
export async function clientOf({ stack, env, store }: Context): Promise<TemperClient> {
  if (stack !== null) await requireSupervised(stack);
  return await connectTemper(
    stack === null
      ? { store }
      : { address: env['TEMPORAL_ADDRESS'], namespace: env['TEMPORAL_NAMESPACE'], store },
  );
}

/** While a stack is down another program may listen on its ports, such as the stack of another folder: that is not asked. */
export async function requireSupervised({ layout, ports }: Stack): Promise<void> {
  if (await isSupervisorRunning(layout)) return;
  const address = `127.0.0.1:${ports.temporal}`;
  throw unreachable(address, new Error(`no supervisor runs in ${layout.home}`));
}

/** Brings the local stack up when a part of it is down or runs old code, and says so; there must be room for a run. */
export async function ensureUp(home: string, options: CommonOptions): Promise<void> {
  const layout = layoutOf(home);
  await requireDisk(layout.home);
  const parts = await stackStatus(home);
  const down = parts.filter((part) => part.state !== 'running').map((part) => part.name);
  if (down.length === 0 && (await isCodeCurrent(layout))) return;
  if (down.length === parts.length) say(options, 'The stack is down: starting it.');
  else if (down.length > 0) {
    say(options, `Parts of the stack are down (${down.join(', ')}): starting them.`);
  }
  await untilInterrupted(startInterrupted, () => bringUp(home, options));
}

/** What to say when Ctrl-C comes while the stack starts. */
export const startInterrupted =
  'Interrupted while the stack was starting: what has started keeps running, and no run was begun. `npx temper up` finishes the start, `npx temper down` stops everything.';

/** A store that this shell names and that is not the local stack's is tried out before a run depends on it. */
export async function requireStore({ stack, env, store }: Context): Promise<void> {
  const named = (env['TEMPER_S3_ENDPOINT'] ?? env['TEMPER_S3_BUCKET'] ?? '') !== '';
  if (stack === null && named) await store.probe();
}

/** Starts the stack, makes its bucket, and refuses a store that would let two writers win. */
export async function bringUp(
  home: string,
  options: CommonOptions,
  settings: { portBase?: number } = {},
): Promise<Stack> {
  const onProgress = ({ text }: { text: string }) => say(options, `  ${text}`);
  const stack = await stackUp(home, { ...settings, onProgress });
  const store = storeOf(stackEnvironment(stack));
  try {
    await store.ensureBucket();
    await store.probe();
  } finally {
    store.close();
  }
  const temper = await clientOf({ stack, env: stackEnvironment(stack), store });
  try {
    await temper.scheduleRetention();
  } finally {
    await temper.close();
  }
  return stack;
}

/** The stack that a command needs, or why there is none. */
export function requireLocal(context: Context, command: string): Stack {
  if (context.stack !== null) return context.stack;
  throw new ClientError(
    'input',
    `${command} works on the local stack, and TEMPORAL_ADDRESS names a remote one: unset it first.`,
  );
}

/** A painter for standard output. */
export function stdoutPaint(): Paint {
  return painter(process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '');
}

function storeOf(
  env: Record<string, string | undefined>,
  patience: Pick<StoreOptions, 'patienceMs' | 'isDown'> = {},
): Store {
  return openStore({
    endpoint: env['TEMPER_S3_ENDPOINT'],
    region: env['TEMPER_S3_REGION'] ?? 'us-east-1',
    bucket: env['TEMPER_S3_BUCKET'] ?? 'temper',
    accessKeyId: env['AWS_ACCESS_KEY_ID'],
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
    patienceMs: 5000,
    ...patience,
    dataKeys: readDataKeys(env),
  });
}
