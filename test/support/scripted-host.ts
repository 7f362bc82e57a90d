/** A host whose trainer is the scripted one, and waiting for what happens on it. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../../activities/deps.ts';
import type { createTrainActivities } from '../../activities/train.ts';
import type { Generation } from '../../activities/training-job.ts';
import { machine } from './recipes.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');

/** The dependencies of its activities; a clock of the test's own takes the place of the real one. */
export function scriptedDeps({
  now = () => new Date(),
  ...given
}: Pick<Deps, 'store' | 'home' | 'host' | 'gangAddress'> & Partial<Pick<Deps, 'now'>>): Deps {
  const python = path.join(projectDir, 'test/support/scripted-trainer.mjs');
  // As the machine of the tests' recipes, whatever the real one is.
  const findInstructionSet = async () => machine.instructionSet;
  return { ...given, python, projectDir, now, findInstructionSet };
}

/** Tells the scripted trainers of a home what to do. */
export async function scriptTrainer(home: string, what: object): Promise<void> {
  await mkdir(path.join(home, 'runs'), { recursive: true });
  await writeFile(path.join(home, 'runs', 'script.json'), JSON.stringify(what));
}

/** Opens the next generation of a job, as its workflow does. */
export async function openGeneration(
  activities: ReturnType<typeof createTrainActivities>,
  job: Generation['job'],
): Promise<Generation> {
  const { stage } = await activities.findTrainedModel(job);
  const writer = `writer-${Math.random()}`;
  const { trial } = job;
  const { fence } = await activities.openTrainingGeneration({ trial, stage, writer });
  return { job, stage, fence, writer };
}

/** Waits for a condition, 20 seconds at most. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${condition.toString()}`);
    await sleep(20);
  }
}
