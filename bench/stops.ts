/**
 * Stops the gpu worker that watches a training for longer than its heartbeat timeout, lets another worker of the
 * same host take over, wakes it, and looks at what it does: nothing of it may be reachable from head.json,
 * and no process of the trainer that is not its own any more may hear of it.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { seeded } from '../client/cli/chaos-schedule.ts';
import { killVictim, listVictims, type Victim } from '../infra/kill.ts';
import { node, projectDir } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { inspectProcess, isAlive, signalProcess } from '../infra/processes.ts';
import { stackEnvironment, type Stack } from '../infra/stack.ts';
import { readHead } from '../registry/training.ts';
import { workflowId } from '../workflows/messages.ts';
import { defineBench, say } from './support/bench.ts';
import {
  compareWith,
  prepareComparable,
  startAgain,
  trialOf,
  untilEnded,
} from './support/disturbed.ts';
import { median } from './support/figures.ts';
import { startsOf } from './support/recovery.ts';
import { withHome, withStack, type BenchStack } from './support/stack.ts';
import type { Reference } from './support/training.ts';

/** What happens to the trainer while its watcher stands still. */
const cases = [
  'let be',
  'killed before another took over',
  'killed after another took over',
] as const;
type Case = (typeof cases)[number];

/** Until a worker that lives has taken over: tasks that the stopped one had asked for time out first. */
const takeOverMs = 180_000;
/** What a woken worker may do wrong it does at once: its ticks are half a second apart. */
const lookMs = 4000;

interface Stop {
  run: string;
  case: Case;
  takenOverS: number;
  faults: string[];
}

export const stops = defineBench({
  name: 'stops',
  summary:
    'a gpu worker stopped past its heartbeat timeout, taken over from, and woken: what it still does, and the same bits',
  settings: z.strictObject({
    stops: z.int().min(1).max(1000).default(100).describe('in all'),
    seconds: z.number().positive().max(600).default(300).describe('planned time of one training'),
    seed: z.int().min(0).default(1).describe('of cases and instants'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ stops: numStops, seconds, seed, keep }) {
    return await withHome('stops', { keep }, async (home) =>
      withStack(home, async (stack) =>
        withSecondWorker(stack.stack, async (second) => {
          const training = await prepareComparable(stack, home, { seconds, numSaves: 60 });
          const random = seeded(seed);
          const made: Stop[] = [];
          const runs: { run: string; faults: string[] }[] = [];
          while (made.length < numStops) {
            const run = `stops-${runs.length}`;
            await startAgain(stack, training, { run, index: runs.length });
            runs.push({
              run,
              faults: await disturb(stack, home, {
                run,
                second,
                reference: training.reference,
                random,
                made,
                numStops,
              }),
            });
          }
          return conclude(runs, made);
        }),
      ),
    );
  },
});

/** Another worker on the host of the stack, which no supervisor starts again. */
async function withSecondWorker<T>(stack: Stack, use: (pid: number) => Promise<T>): Promise<T> {
  const worker = execa(node, [path.join(projectDir, 'workers/gpu.ts')], {
    env: stackEnvironment(stack),
    stdout: 'ignore',
    stderr: 'ignore',
    reject: false,
  });
  try {
    return await use(worker.pid!);
  } finally {
    worker.kill('SIGKILL');
    await worker;
  }
}

interface Disturbance {
  run: string;
  /** Pid of the worker beside the stack's own. */
  second: number;
  reference: Reference;
  random: () => number;
  /** Every stop is added to it. */
  made: Stop[];
  numStops: number;
}

/** Stops workers until the training ends or all stops are made; returns what differs at the end. */
async function disturb(
  stack: BenchStack,
  home: string,
  { run, second, reference, random, made, numStops }: Disturbance,
): Promise<string[]> {
  let ended = false;
  let numKilled = 0;
  const finished = untilEnded(stack, run).finally(() => {
    ended = true;
  });
  const isOver = () => ended;
  while (made.length < numStops && !isOver()) {
    await sleep(1000 + 3000 * random());
    const chosen = cases[Math.floor(random() * cases.length)]!;
    const stop = await stopAndWake(stack, home, { run, second, chosen, isOver });
    numKilled += stop?.numKilled ?? 0;
    if (stop === null || stop.takenOverS === null) continue;
    made.push({ run, case: chosen, takenOverS: stop.takenOverS, faults: stop.faults });
    const told = stop.faults.length === 0 ? 'nothing of it is left' : stop.faults.join('; ');
    say(`  ${made.length} of ${numStops}, ${run}, trainer ${chosen}: ${told}`);
  }
  const failure = await finished;
  if (failure !== null) return [failure];
  const { events, faults } = await compareWith(stack, home, run, reference);
  const numRestarts = startsOf(events).length - 1;
  return [
    ...faults,
    ...(numRestarts === numKilled
      ? []
      : [`${numRestarts} restarts of the trainer, expected one for each of ${numKilled} kills`]),
  ];
}

/** Null when nobody watched; `takenOverS` null when the training ended before anybody took over. */
async function stopAndWake(
  stack: BenchStack,
  home: string,
  {
    run,
    second,
    chosen,
    isOver,
  }: { run: string; second: number; chosen: Case; isOver: () => boolean },
): Promise<{ takenOverS: number | null; numKilled: number; faults: string[] } | null> {
  const watcher = await watcherOf(stack, home, run, second);
  const before = await readHead(stack.store, trialOf(run));
  if (watcher === null || before === null || (await trainersOf(home)).length === 0) return null;
  const { fence } = before.value;
  /** False when the training ended first. */
  const untilTakenOver = async (): Promise<boolean> => {
    await until(async () => {
      if (isOver()) return true;
      const successor = await watcherOf(stack, home, run, second);
      const isWatched = successor !== null && successor.pid !== watcher.pid;
      return isWatched && (await trainersOf(home)).length >= 2;
    });
    return !isOver();
  };
  if (!signalProcess(watcher, 'SIGSTOP')) return null;
  let numKilled = 0;
  try {
    if (chosen === 'killed before another took over') numKilled += await killRank(home);
    const began = performance.now();
    if (!(await untilTakenOver())) return { takenOverS: null, numKilled, faults: [] };
    const takenOverS = (performance.now() - began) / 1000;
    if (chosen === 'killed after another took over') {
      const before = await trainersOf(home);
      numKilled += await killRank(home);
      await until(() => Promise.resolve(isOver() || !before.some(isAlive)));
      if (!(await untilTakenOver())) return { takenOverS, numKilled, faults: [] };
    }
    const taken = await readHead(stack.store, trialOf(run));
    const trainers = await trainersOf(home);
    signalProcess(watcher, 'SIGCONT');
    await sleep(lookMs);
    const after = await readHead(stack.store, trialOf(run));
    const known = new Set(taken?.value.chain.map(({ manifest }) => manifest.sha256));
    const stale = (after?.value.chain ?? []).filter(
      (entry) => entry.fence <= fence && !known.has(entry.manifest.sha256),
    );
    const gone = isOver() ? [] : trainers.filter((trainer) => !isAlive(trainer));
    return {
      takenOverS,
      numKilled,
      faults: [
        ...stale.map(
          ({ step }) => `the checkpoint of step ${step} came under the old fence ${fence}`,
        ),
        ...((after?.value.fence ?? 0) < (taken?.value.fence ?? 0) ? ['the fence went back'] : []),
        ...gone.map(({ kind, pid }) => `${kind} ${pid}, the trainer of another, is gone`),
      ],
    };
  } finally {
    signalProcess(watcher, 'SIGCONT');
  }
}

/** The worker that holds the activity of a training; Temporal knows workers as pid@host. */
async function watcherOf({ temporal }: BenchStack, home: string, run: string, second: number) {
  const id = workflowId.training(run, 'pretrain', 0);
  const { raw } = await temporal.workflow.getHandle(id).describe();
  const pids = (raw.pendingActivities ?? [])
    .filter(({ activityType }) => activityType?.name === 'watchTrainer')
    .map(({ lastWorkerIdentity }) => Number.parseInt(lastWorkerIdentity ?? '', 10));
  const own = (await listVictims(home)).find(({ kind }) => kind === 'gpu');
  const workers = [second, ...(own === undefined ? [] : [own.pid])];
  const pid = pids.find((one) => workers.includes(one));
  return pid === undefined ? null : inspectProcess(pid);
}

/** 1 when a rank was killed, 0 when there was none. */
async function killRank(home: string): Promise<number> {
  const rank = (await listVictims(home)).find(({ kind }) => kind === 'rank');
  return rank !== undefined && killVictim(rank) ? 1 : 0;
}

async function trainersOf(home: string): Promise<Victim[]> {
  return (await listVictims(home)).filter(({ kind }) => kind === 'rank' || kind === 'torchrun');
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + takeOverMs;
  while (!(await isSo())) {
    if (performance.now() > deadline)
      throw new Error(
        `nobody took over within ${takeOverMs / 1000} s, expected the other worker to`,
      );
    await sleep(200);
  }
}

function conclude(runs: { run: string; faults: string[] }[], made: readonly Stop[]) {
  const clean = made.filter(({ faults }) => faults.length === 0).length;
  const equal = runs.filter(({ faults }) => faults.length === 0).length;
  const seconds = made.map(({ takenOverS }) => takenOverS);
  const byCase = cases.map(
    (one) => [one, made.filter((stop) => stop.case === one).length] as const,
  );
  return {
    figures: {
      stops: made.length,
      cases: Object.fromEntries(byCase),
      clean,
      trainings: runs.length,
      equal,
      takenOverS: { median: median(seconds), most: Math.max(...seconds) },
      faults: [...made, ...runs].flatMap(({ run, faults }) =>
        faults.map((fault) => `${run}: ${fault}`),
      ),
      instructionSet: describeMachine().instructionSet,
    },
    bounds: [
      {
        name: 'stops after which nothing of the stopped worker was reachable and no other’s trainer was gone',
        value: clean / made.length,
        min: 1,
      },
      {
        name: 'trainings with the same bits, restarts for killed ranks alone, no orphans',
        value: equal / runs.length,
        min: 1,
      },
    ],
  };
}
