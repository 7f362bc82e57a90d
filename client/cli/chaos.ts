/**
 * `temper quickstart --chaos`: shows that a run survives the death of any of its processes with the
 * same bits. An undisturbed run and a disturbed one, each in an empty stack of its own, are compared.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { killVictim, listVictims } from '../../infra/kill.ts';
import { homeFolder, layoutOf, projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { commandLine } from '../../infra/processes.ts';
import { findPortBase, stackDown } from '../../infra/stack.ts';
import { listSupervised, supervisorPid } from '../../infra/supervisor.ts';
import { findTrainers, findUnsupervised } from '../../infra/trainers.ts';
import { connectTemper } from '../client.ts';
import { ClientError, rootMessage } from '../errors.ts';
import type { LiveStatus } from '../live-status.ts';
import { readPipelineFile, type PipelineFile } from '../pipeline-file.ts';
import { createKiller, type Kill, type Killer } from './chaos-killer.ts';
import {
  readReference,
  referenceDigest,
  writeReference,
  type Reference,
} from './chaos-reference.ts';
import { killKinds, planKills } from './chaos-schedule.ts';
import { comparedParts, coveredKinds, faultsOf, isEqual, type Evidence } from './chaos-verdict.ts';
import { bringUp, stdoutPaint } from './context.ts';
import { holdingInterrupts, Interrupted } from './interrupt.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { endLines, stageTimes } from './result.ts';
import { clock, table } from './text.ts';
import { watchRun } from './watch.ts';

export interface ChaosOptions extends CommonOptions {
  pipeline: string;
  seed: number;
  kills: number;
  fresh?: boolean;
}

const chaosIsDown = 'The chaos stack is down; your own stack was not touched.';
/** For processes whose parent was killed to notice it and end. */
const settleMs = 10_000;
/** A deployment takes a second or two, and one kill has to fall into it. */
const lookEveryMs = 250;

export async function chaosCommand(options: ChaosOptions): Promise<number> {
  if (options.kills < killKinds.length) {
    throw new ClientError(
      'input',
      `--kills: found ${options.kills}, expected at least ${killKinds.length}, one for each kind of process.`,
    );
  }
  const file = await readPipelineFile(options.pipeline);
  return holdingInterrupts(
    () => say(options, '\nInterrupted: taking the chaos stack down.'),
    (interrupted) => compareRuns(file, options, interrupted),
  );
}

async function compareRuns(
  file: PipelineFile,
  options: ChaosOptions,
  interrupted: AbortSignal,
): Promise<number> {
  const { seed } = options;
  const root = path.join(layoutOf(homeFolder(process.env)).home, 'chaos');
  mkdirSync(root, { recursive: true });
  await takeDownLeftovers(root, options);
  const machine = describeMachine();
  const digest = await referenceDigest({ projectDir, machine, ...file });
  const kept = options.fresh === true ? null : readReference(root, digest);
  const reference = kept ?? (await makeReference(root, digest, file, options, interrupted));
  if (kept !== null) {
    say(
      options,
      `Reference: an undisturbed run of ${kept.madeAt} with the same sources (--fresh makes it anew).`,
    );
  }
  say(options, `Seed ${seed}: ${options.kills} kills over ${killKinds.length} kinds of process.`);
  const home = path.join(root, String(seed));
  const deploys = file.pipeline.deploy !== undefined;
  let killer: Killer | undefined;
  const { status, orphans } = await runInFreshStack(
    home,
    root,
    file,
    options,
    interrupted,
    (stackHome, tell) => {
      killer = createKiller(
        planKills(seed, options.kills, { deploys }),
        { listVictims: () => listVictims(stackHome), killVictim },
        tell,
      );
      return killer;
    },
  );
  const changed = digest !== (await referenceDigest({ projectDir, machine, ...file }));
  const kills = killer?.kills ?? [];
  const evidence = {
    status,
    reference: reference.digests,
    changed,
    kills,
    numKills: options.kills,
    orphans,
    deploys,
  };
  return conclude({ options, evidence, status, kills, reference, reused: kept !== null, home });
}

/** An earlier chaos run may have been killed itself: whatever it left running would take processor and memory. */
async function takeDownLeftovers(root: string, options: ChaosOptions): Promise<void> {
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    await stackDown(path.join(root, entry.name), {
      onProgress: ({ text }) => say(options, `  chaos/${entry.name}, left behind: ${text}`),
    });
  }
}

async function makeReference(
  root: string,
  digest: string,
  file: PipelineFile,
  options: ChaosOptions,
  interrupted: AbortSignal,
): Promise<Reference> {
  say(options, 'Reference: an undisturbed run in an empty stack.');
  const home = path.join(root, 'reference');
  const { status } = await runInFreshStack(home, root, file, options, interrupted);
  if (status.result === null) {
    throw new ClientError(
      'failed',
      `the undisturbed run gave no model: ${status.failure ?? status.state}. Its logs lie in ${home}/logs.`,
    );
  }
  const reference: Reference = {
    schemaVersion: 1,
    madeAt: new Date().toISOString(),
    durationMs: stageTimes(status).totalMs,
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
  /** What ran without a supervisor or a watcher when the run had ended and the stack was still up. */
  orphans: string[];
}

async function runInFreshStack(
  home: string,
  root: string,
  file: PipelineFile,
  options: ChaosOptions,
  interrupted: AbortSignal,
  disturb?: (home: string, tell: (line: string) => void) => Killer,
): Promise<Finished> {
  if (path.dirname(home) !== root) throw new Error(`${home}: expected a folder in ${root}`);
  mkdirSync(home, { recursive: true });
  await stackDown(home);
  rmSync(home, { recursive: true, force: true });
  const goOn = () => {
    if (!interrupted.aborted) return;
    throw new Interrupted(chaosIsDown);
  };
  goOn();
  try {
    const stack = await bringUp(home, options, { portBase: await findPortBase() });
    goOn();
    const address = `127.0.0.1:${stack.ports.temporal}`;
    const client = await connectTemper({ address, namespace: 'default' });
    try {
      const { run } = await client.startPipeline({ pipeline: file, machine: describeMachine() });
      say(options, `run ${run} in ${home}, Web UI http://127.0.0.1:${stack.ports.temporalUi}`);
      const status = await watchWith(client, run, options, (tell) => disturb?.(home, tell));
      goOn();
      return { status, orphans: await findOrphans(home) };
    } finally {
      await client.close();
    }
  } finally {
    await stackDown(home, { onProgress: ({ text }) => say(options, `  ${text}`) });
  }
}

/** Trainers whose run has ended, and processes that no supervisor would ever stop; asked before the stack goes down. */
export async function findOrphans(home: string, patienceMs = settleMs): Promise<string[]> {
  const layout = layoutOf(home);
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const supervisor =
      (await listSupervised(layout)).length > 0 ? await supervisorPid(layout) : null;
    const { launchers, ranks } = findTrainers(layout);
    const left = [...findUnsupervised(layout, supervisor), ...launchers, ...ranks];
    if (left.length === 0 || Date.now() > deadline) {
      return left.map(({ pid }) => `${pid} ${commandLine(pid).join(' ').slice(0, 120)}`);
    }
    await sleep(200);
  }
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
  const { status } = await watchRun(client, run, options, {
    everyMs: lookEveryMs,
    onStatus(seen, view) {
      note = (line) => view.note(line);
      if (killer === undefined || busy) return;
      busy = true;
      void killer
        .observe(seen, Date.now())
        .catch((error: unknown) => note(`the killer could not look: ${rootMessage(error)}`))
        .finally(() => (busy = false));
    },
  });
  if (status === null) throw new Interrupted(chaosIsDown);
  return status;
}

interface Outcome {
  options: ChaosOptions;
  evidence: Evidence;
  status: LiveStatus;
  kills: Kill[];
  reference: Reference;
  reused: boolean;
  home: string;
}

function conclude({ options, evidence, status, kills, reference, reused, home }: Outcome): number {
  const paint = stdoutPaint();
  const found = status.result?.digests ?? null;
  const faults = faultsOf(evidence);
  const ok = faults.length === 0;
  const covered = coveredKinds(kills);

  for (const line of endLines(status, paint)) say(options, line);
  const rows = comparedParts.map((part) => [
    part,
    reference.digests[part].slice(0, 24),
    (found?.[part] ?? '–').slice(0, 24),
    isEqual(evidence, part) ? 'equal' : 'DIFFERENT',
  ]);
  say(options);
  for (const line of table(['', 'undisturbed', 'disturbed', ''], rows)) say(options, line);
  const spent = stageTimes(status).totalMs;
  say(options);
  say(
    options,
    `${kills.length} kills, ${covered.length} of ${killKinds.length} kinds; ${clock(spent)} against ${clock(reference.durationMs)} undisturbed; ${evidence.orphans.length} orphans`,
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
      equal: comparedParts.every((part) => isEqual(evidence, part)),
      orphans: evidence.orphans,
      faults,
      durationMs: spent,
      notes: status.notes,
    });
  }
  return ok ? ExitCode.ok : ExitCode.failed;
}
