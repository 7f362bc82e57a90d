/**
 * `temper quickstart --chaos`: shows that a run survives the death of any of its processes with the
 * same bits. An undisturbed run and a disturbed one, each in an empty stack of its own, are compared.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { killVictim, listVictims } from '../../infra/kill.ts';
import { homeFolder, layoutOf, projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { findFreeBlock } from '../../infra/ports.ts';
import { commandLine } from '../../infra/processes.ts';
import { stackDown } from '../../infra/stack.ts';
import { findMarked, findTrainers } from '../../infra/trainers.ts';
import type { RunDigests } from '../../workflows/messages.ts';
import { connectTemper } from '../client.ts';
import { ClientError, rootMessage } from '../errors.ts';
import type { LiveStatus } from '../live-status.ts';
import { readPipelineFile, type PipelineFile } from '../pipeline-file.ts';
import { createKiller, type Killer } from './chaos-killer.ts';
import {
  readReference,
  referenceDigest,
  writeReference,
  type Reference,
} from './chaos-reference.ts';
import { killKinds, planKills } from './chaos-schedule.ts';
import { bringUp, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { endLines } from './result.ts';
import { clock, table } from './text.ts';
import { watchRun } from './watch.ts';

export interface ChaosOptions extends CommonOptions {
  pipeline: string;
  seed: number;
  kills: number;
  fresh?: boolean;
}

class Interrupted extends Error {}

/** Ports of a stack. */
const portsOfAStack = 15;

export async function chaosCommand(options: ChaosOptions): Promise<number> {
  const { seed } = options;
  if (options.kills < killKinds.length) {
    throw new ClientError(
      'input',
      `--kills: found ${options.kills}, expected at least ${killKinds.length}, one for each kind of process.`,
    );
  }
  const file = await readPipelineFile(options.pipeline);
  const root = path.join(layoutOf(homeFolder(process.env)).home, 'chaos');
  mkdirSync(root, { recursive: true });
  const machine = describeMachine();
  const digest = await referenceDigest({ projectDir, machine, ...file });
  try {
    const kept = options.fresh === true ? null : readReference(root, digest);
    const reference = kept ?? (await makeReference(root, digest, file, options));
    if (kept !== null) {
      say(
        options,
        `Reference: an undisturbed run of ${kept.madeAt} with the same sources (--fresh makes it anew).`,
      );
    }
    say(options, `Seed ${seed}: ${options.kills} kills over ${killKinds.length} kinds of process.`);
    const home = path.join(root, String(seed));
    let killer: Killer | undefined;
    const { status, orphans } = await runInFreshStack(
      home,
      root,
      file,
      options,
      (stackHome, tell) => {
        killer = createKiller(
          planKills(seed, options.kills),
          { listVictims: () => listVictims(stackHome), killVictim },
          tell,
        );
        return killer;
      },
    );
    const changed = digest !== (await referenceDigest({ projectDir, machine, ...file }));
    const reused = kept !== null;
    return conclude({ options, reference, reused, changed, status, orphans, killer, home });
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    say(options, 'Interrupted: the chaos stack is down, your own stack was not touched.');
    return ExitCode.interrupted;
  }
}

async function makeReference(
  root: string,
  digest: string,
  file: PipelineFile,
  options: ChaosOptions,
): Promise<Reference> {
  say(options, 'Reference: an undisturbed run in an empty stack.');
  const home = path.join(root, 'reference');
  const { status } = await runInFreshStack(home, root, file, options);
  if (status.result === null) {
    throw new ClientError(
      'failed',
      `the undisturbed run gave no model: ${status.failure ?? status.state}. Its logs lie in ${home}/logs.`,
    );
  }
  const reference: Reference = {
    schemaVersion: 1,
    madeAt: new Date().toISOString(),
    durationMs: (status.endedAt ?? 0) - status.startedAt,
    digests: status.result.digests,
  };
  if (digest === (await referenceDigest({ projectDir, machine: describeMachine(), ...file }))) {
    writeReference(root, digest, reference);
  }
  rmSync(home, { recursive: true, force: true });
  return reference;
}

interface Finished {
  status: LiveStatus;
  /** Processes that were still there after the stack had been taken down. */
  orphans: string[];
}

async function runInFreshStack(
  home: string,
  root: string,
  file: PipelineFile,
  options: ChaosOptions,
  disturb?: (home: string, tell: (line: string) => void) => Killer,
): Promise<Finished> {
  if (path.dirname(home) !== root) throw new Error(`${home}: expected a folder in ${root}`);
  mkdirSync(home, { recursive: true });
  await stackDown(home);
  rmSync(home, { recursive: true, force: true });
  let status: LiveStatus | null;
  try {
    const stack = await bringUp(home, options, { portBase: await findFreeBlock(portsOfAStack) });
    const address = `127.0.0.1:${stack.ports.temporal}`;
    const client = await connectTemper({ address, namespace: 'default' });
    try {
      const { run } = await client.startPipeline({ pipeline: file, machine: describeMachine() });
      say(options, `run ${run} in ${home}, Web UI http://127.0.0.1:${stack.ports.temporalUi}`);
      const watched = await watchWith(client, run, options, (tell) => disturb?.(home, tell));
      status = watched;
    } finally {
      await client.close();
    }
  } finally {
    await stackDown(home, { onProgress: ({ text }) => say(options, `  ${text}`) });
  }
  const layout = layoutOf(home);
  const { launchers, ranks } = findTrainers(layout);
  const left = new Map(
    [...findMarked(layout), ...launchers, ...ranks].map((one) => [one.pid, one]),
  );
  const orphans = [...left.keys()].map(
    (pid) => `${pid} ${commandLine(pid).join(' ').slice(0, 120)}`,
  );
  return { status, orphans };
}

/** Watches a run; the killer's looks follow the status one after another, never two at once. */
async function watchWith(
  client: Awaited<ReturnType<typeof connectTemper>>,
  run: string,
  options: ChaosOptions,
  disturb: (tell: (line: string) => void) => Killer | undefined,
): Promise<LiveStatus> {
  let note: (line: string) => void = (line) => say(options, line);
  const killer = disturb((line) => {
    if (options.json !== true) note(line);
  });
  let busy = false;
  const { status, interrupted } = await watchRun(client, run, options, (seen, view) => {
    note = (line) => view.note(line);
    if (killer === undefined || busy) return;
    busy = true;
    void killer
      .observe(seen, Date.now())
      .catch((error: unknown) => note(`the killer could not look: ${rootMessage(error)}`))
      .finally(() => (busy = false));
  });
  if (interrupted || status === null) throw new Interrupted();
  return status;
}

interface Outcome {
  options: ChaosOptions;
  reference: Reference;
  reused: boolean;
  /** The sources were edited while the runs went on, so that their bits say nothing. */
  changed: boolean;
  status: LiveStatus;
  orphans: string[];
  killer: Killer | undefined;
  home: string;
}

function conclude({
  options,
  reference,
  reused,
  changed,
  status,
  orphans,
  killer,
  home,
}: Outcome): number {
  const paint = stdoutPaint();
  const kills = killer?.kills ?? [];
  const found = status.result?.digests ?? null;
  const parts = ['tokenizer', 'weights', 'onnx', 'bundle'] as const satisfies (keyof RunDigests)[];
  const equal = parts.every((part) => found?.[part] === reference.digests[part]);
  const covered = killKinds.filter((kind) => kills.some((kill) => kill.kind === kind));
  const missed = killKinds.filter((kind) => !covered.includes(kind));
  const faults = [
    ...(status.state === 'finished' ? [] : [`the run ${status.state}: ${status.failure ?? ''}`]),
    ...(found !== null && !equal ? ['digests differ'] : []),
    ...(changed ? ['the project changed while this went on: the digests cannot be compared'] : []),
    ...(kills.length < options.kills
      ? [`only ${kills.length} of ${options.kills} kills could be made before the run ended`]
      : []),
    ...(missed.length > 0 ? [`no kill of ${missed.join(', ')}`] : []),
    ...orphans.map((orphan) => `left running: ${orphan}`),
  ];
  const ok = faults.length === 0;

  for (const line of endLines(status, paint)) say(options, line);
  const rows = parts.map((part) => {
    const same = found?.[part] === reference.digests[part];
    return [
      part,
      reference.digests[part].slice(0, 24),
      (found?.[part] ?? '–').slice(0, 24),
      same ? 'equal' : 'DIFFERENT',
    ];
  });
  say(options);
  for (const line of table(['', 'undisturbed', 'disturbed', ''], rows)) say(options, line);
  const spent = (status.endedAt ?? status.startedAt) - status.startedAt;
  say(options);
  say(
    options,
    `${kills.length} kills, ${covered.length} of ${killKinds.length} kinds; ${clock(spent)} against ${clock(reference.durationMs)} undisturbed; ${orphans.length} orphans`,
  );
  if (ok) {
    rmSync(home, { recursive: true, force: true });
    say(
      options,
      paint('green', `✓ killed ${kills.length} times, and the same bits (seed ${options.seed})`),
    );
  } else {
    for (const fault of faults) say(options, paint('red', `✗ ${fault}`));
    say(options, `  everything of this run is kept in ${home}; logs in ${home}/logs`);
  }
  if (options.json === true) {
    printJson({
      ok,
      seed: options.seed,
      numKills: kills.length,
      kills,
      digests: found,
      reference: { ...reference, reused },
      equal,
      orphans,
      faults,
      durationMs: spent,
      notes: status.notes,
    });
  }
  return ok ? ExitCode.ok : ExitCode.failed;
}
