/**
 * Times a few steps of a planned recipe on the machine that will train it, and throws the weights away: what the
 * plan is corrected by. It takes a host that is free, or none, and pays for it as a training does; whatever goes wrong,
 * the estimate stands.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import { computesAs } from '../config/instruction-set.ts';
import { loadOf } from '../config/measurements.ts';
import { calibratedSteps } from '../recipes/measured.ts';
import { recordLease, recordRelease } from '../registry/costs.ts';
import { hasGpus } from '../registry/hosts.ts';
import { acquireHost, releaseHost } from '../registry/leases.ts';
import { findMeasurement, recordCalibration, recordMicroBatch } from '../registry/measurements.ts';
import type { Deps } from './deps.ts';
import { findGpus } from './gpus.ts';
import { findInstructionSet } from './instruction-set.ts';
import { withSigns } from './heartbeats.ts';
import { halvedMicroBatch } from './micro-batch.ts';
import { EventTail, readResult, touchControl, writeControl, writeRun } from './trainer-files.ts';
import { LeaseKeeper } from './trainer-lease.ts';
import { createSight, endTrainer, startTrainer } from './trainer-process.ts';
import { throwIfEnded } from './trainer-signs.ts';
import { trainerRun } from './trainer-start.ts';
import {
  costOf,
  hostPool,
  leaseTtlMs,
  trainingJobSchema,
  type TrainingJob,
} from './training-job.ts';

const tickMs = 250;
/** A trainer that lost its watcher ends by itself after so long. */
const unwatchedExitS = 60;

export interface CalibrationInput {
  job: TrainingJob;
  /** Steps to time. */
  numSteps: number;
  /** When to give up. */
  limitMs: number;
}

export interface CalibrationOutcome {
  /** Time of a step; null where it could not be measured. */
  stepMs: number | null;
  /** Why not. */
  note: string | null;
}

export function createCalibrateActivities(deps: Deps) {
  return {
    async calibrateTraining(input: CalibrationInput): Promise<CalibrationOutcome> {
      const context = Context.current();
      const asked = trainingJobSchema.parse(input.job);
      const job = { ...asked, recipe: { ...asked.recipe, unwatchedExitS } };
      const { trial } = job;
      const load = loadOf(job.recipe, job.shape);
      const known = await findMeasurement(deps.store, job.machine, load);
      if (known?.calibration !== undefined) {
        return { stepMs: known.calibration.stepMs, note: null };
      }
      // What another kind of GPU takes is no measurement of the one that is planned for.
      const wanted = job.recipe.device === 'cuda' ? job.machine.gpu : undefined;
      if (wanted !== undefined && !hasGpus(await (deps.findGpus ?? findGpus)(), wanted)) {
        return { stepMs: null, note: `host ${deps.host} has not ${wanted.count} × ${wanted.name}` };
      }
      const set = await (deps.findInstructionSet ?? findInstructionSet)();
      if (wanted === undefined && !computesAs(set, job.machine.instructionSet)) {
        const { instructionSet } = job.machine;
        return {
          stepMs: null,
          note: `host ${deps.host} has not the instruction set ${instructionSet}`,
        };
      }
      const holder = `${context.info.workflowExecution?.workflowId ?? context.info.activityId}/calibration`;
      const now = deps.now();
      const leased = await acquireHost(deps.store, hostPool, deps.host, {
        holder,
        now,
        ttlMs: leaseTtlMs(unwatchedExitS),
      });
      if (!leased.ours) {
        return { stepMs: null, note: `host ${deps.host} is busy with ${leased.holder}` };
      }
      const lease = new LeaseKeeper(deps, { job }, holder);
      const runDir = path.join(deps.home, 'runs', trial.run, attemptFolder(context));
      const sign = () => {
        context.heartbeat({ kind: 'calibrate' });
        lease.renew();
      };
      try {
        await recordLease(deps.store, trial.run, costOf(trial, deps.host, leased, now));
        return await withSigns(sign, () => measure(deps, { ...input, job }, { runDir, lease }));
      } finally {
        await endTrainer(runDir, 0);
        await rm(runDir, { recursive: true, force: true });
        await lease.close();
        // What another holds now is not ours to end, nor what another attempt on this host measures.
        if (lease.takenBy === null && !(await isOvertaken(runDir))) {
          const { fence } = leased;
          await recordRelease(deps.store, trial, { host: deps.host, now: deps.now(), fence });
          await releaseHost(deps.store, hostPool, deps.host, { holder });
        }
      }
    },
  };
}
/** Each attempt has a folder of its own, so that none that is woken late ends the trainer of another. */
function attemptFolder({ info }: Context): string {
  const { workflowExecution, activityId, attempt } = info;
  return `calibration-${(workflowExecution?.runId ?? '').slice(0, 8)}-${activityId}-${attempt}`;
}

/** The other attempts at the same on this host; `attempt`: how much later than this one. */
async function otherAttempts(runDir: string): Promise<{ folder: string; attempt: number }[]> {
  const [, prefix, own] = /^(.*-)(\d+)$/.exec(path.basename(runDir))!;
  const names = await readdir(path.dirname(runDir)).catch(() => []);
  return names.flatMap((name) => {
    const number = name.startsWith(prefix!) ? name.slice(prefix!.length) : '';
    if (!/^\d+$/.test(number) || number === own) return [];
    const folder = path.join(path.dirname(runDir), name);
    return { folder, attempt: Number(number) - Number(own) };
  });
}

async function isOvertaken(runDir: string): Promise<boolean> {
  return (await otherAttempts(runDir)).some(({ attempt }) => attempt > 0);
}

export type CalibrateActivities = ReturnType<typeof createCalibrateActivities>;

async function measure(
  deps: Deps,
  { job, numSteps, limitMs }: CalibrationInput,
  { runDir, lease }: { runDir: string; lease: LeaseKeeper },
): Promise<CalibrationOutcome> {
  const context = Context.current();
  const load = loadOf(job.recipe, job.shape);
  const began = deps.now();
  await mkdir(runDir, { recursive: true });
  // A worker that was lost has left its trainer; of a later attempt this one would be the worker that was lost.
  for (const { folder, attempt } of await otherAttempts(runDir)) {
    if (attempt > 0) continue;
    await endTrainer(folder, 0);
    await rm(folder, { recursive: true, force: true });
  }
  await mkdir(path.join(runDir, 'checkpoints'), { recursive: true });
  const { numSteps: saveEverySteps } = job.recipe;
  // Neither saves nor evaluates: the steps alone are timed.
  const timed = { ...job.recipe, saveEverySteps };
  const recipe = timed.phase === 'pretrain' ? { ...timed, evalEverySteps: saveEverySteps } : timed;
  await writeRun(
    runDir,
    await trainerRun(deps, { job: { ...job, recipe } }, { rollbacks: [] }, runDir),
  );
  await writeControl(runDir, {
    fence: 1,
    acknowledged: [],
    paused: false,
    pause: 0,
    learningRates: [],
  });
  await startTrainer({ python: deps.python, projectDir: deps.projectDir, runDir });
  const isGone = createSight(runDir);
  const tail = new EventTail(runDir);
  const at: number[] = [];
  const deadline = Date.now() + limitMs;
  const { warmup } = calibratedSteps;
  while (at.length < numSteps + warmup) {
    throwIfEnded(context);
    if (lease.takenBy !== null) return taken(deps, lease.takenBy);
    // Asked first: what a trainer that is gone has left is whole then.
    const gone = await isGone();
    for (const event of await tail.read()) if (event.event === 'step') at.push(event.at);
    const result = await readResult(runDir);
    if (result?.ok === false) return await failed(deps, job, result);
    if (result !== null || gone || Date.now() > deadline) break;
    await touchControl(runDir);
    await sleep(tickMs, undefined, { signal: context.cancellationSignal }).catch(() => undefined);
  }
  // Steps beside another's trainer take longer than they do alone.
  if (lease.takenBy !== null) return taken(deps, lease.takenBy);
  const stepMs = medianStepMs(at.slice(warmup - 1));
  if (stepMs === null) {
    return { stepMs: null, note: `${at.length} steps in ${Math.round(limitMs / 1000)} s` };
  }
  const now = deps.now();
  await recordCalibration(deps.store, job.machine, load, {
    numSteps: Math.max(1, at.length - warmup),
    stepMs,
    tookMs: Math.max(1, now.getTime() - began.getTime()),
    at: now.toISOString(),
  });
  return { stepMs, note: null };
}

function taken({ host }: Deps, holder: string): CalibrationOutcome {
  return {
    stepMs: null,
    note: `host ${host} was leased by ${holder} while our lease had run out`,
  };
}

async function failed(
  deps: Deps,
  job: TrainingJob,
  { type, message, rows }: { type: string; message: string; rows?: number | undefined },
): Promise<CalibrationOutcome> {
  const size = type === FailureType.OutOfMemory ? halvedMicroBatch(job.recipe, [], rows) : null;
  if (size !== null) {
    await recordMicroBatch(deps.store, job.machine, loadOf(job.recipe, job.shape), size);
  }
  return { stepMs: null, note: message };
}

/** Of the times at which steps ended, in seconds; null where too few did. */
export function medianStepMs(at: readonly number[]): number | null {
  const taken = at.slice(1).map((time, index) => (time - at[index]!) * 1000);
  if (taken.length < calibratedSteps.least) return null;
  const sorted = taken.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1
      ? sorted[Math.floor(middle)]!
      : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return median > 0 ? median : null;
}
