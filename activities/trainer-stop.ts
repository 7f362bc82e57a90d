/** Ends a training that was cancelled or has failed: no trainer is left behind, nor what nobody needs any more. */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Context, log } from '@temporalio/activity';
import { openGeneration, stopWriter } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { withSigns } from './heartbeats.ts';
import { FailureType } from '../config/failures.ts';
import type { Generation, TrainingJob } from './training-job.ts';
import { readControl } from './trainer-files.ts';
import { endTrainer } from './trainer-process.ts';
import { ownTime } from './trainer-signs.ts';
import { inRunDir, requireHead, runDirOf } from './trainer-start.ts';

const graceMs = 10_000;
/** How long whoever leaves waits for the store to say whose the trainer is. */
const answerMs = 1000;
/** What explains a failure. */
export const explaining: readonly string[] = [
  'run.json',
  'events.jsonl',
  'result.json',
  'trainer.log',
];

export interface TrainerStop {
  trial: TrainingJob['trial'];
  stage: string;
  /** Keep the log of a training that failed; of one that was cancelled nothing is kept. */
  keepLog: boolean;
  /** Keep everything: the training goes on later, perhaps on this host. */
  keepFiles?: boolean;
  /** Writer of the generation that is ended, or also of one that may have followed it; left out by older versions. */
  after?: string | readonly string[];
}

/** Somebody else trains under this name by now: neither their fence nor their trainer is ours to end. */
const refusals: readonly string[] = ['NameTaken', FailureType.Fenced];

export async function stopTrainer(
  deps: Deps,
  { trial, stage, keepLog, keepFiles = false, after }: TrainerStop,
): Promise<void> {
  const context = Context.current();
  const runDir = runDirOf(deps, trial);
  const isOver = ownTime();
  await withSigns(
    () => context.heartbeat({ kind: 'stop' }),
    async () => {
      const { activityId, attempt } = context.info;
      const writer = stopWriter([after].flat().at(-1) ?? `${activityId} ${attempt}`);
      try {
        // A preparation that was given up for lost may still be under way: the next fence keeps it from starting one.
        await openGeneration(deps.store, trial, { stage, writer, after, isOver });
      } catch (error) {
        log.warn('generation not fenced off', { error });
        if (refusals.includes((error as Error).name) || isOver()) return;
      }
      await inRunDir(runDir, async () => {
        await endTrainer(runDir, graceMs);
        if (keepFiles) return;
        const kept = keepLog ? explaining : [];
        for (const name of await readdir(runDir).catch(() => [])) {
          if (!kept.includes(name))
            await rm(path.join(runDir, name), { recursive: true, force: true });
        }
        if (!keepLog) await rm(runDir, { recursive: true, force: true });
      });
    },
  );
}

/**
 * Ends the trainer of a host whose time is over, or it would train on where the host stays after all, and is given back.
 * Where the store does not answer in time, whose it is says the fence that it was told last.
 */
export async function endInHaste(deps: Deps, generation: Generation): Promise<void> {
  const runDir = runDirOf(deps, generation.job.trial);
  const isOurs = await Promise.race([
    requireHead(deps, generation).then(() => true),
    sleep(answerMs, false, { ref: false }),
  ]).catch((error: unknown) => {
    if ((error as { type?: string }).type === FailureType.Fenced) throw error;
    return false;
  });
  if (!isOurs && (await readControl(runDir))?.fence !== generation.fence) return;
  await endTrainer(runDir, 0);
}
