/** A training that was disturbed while it ran: its end, and how what it gave differs from an undisturbed one. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowFailedError } from '@temporalio/client';
import { findOrphans } from '../../client/cli/chaos.ts';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import type { PretrainRecipe } from '../../config/recipe.ts';
import type { TrainerEvent } from '../../config/trainer.ts';
import { readGenerations } from '../../registry/generations.ts';
import { readCheckpoint, readHead } from '../../registry/training.ts';
import { workflowId } from '../../workflows/messages.ts';
import { say } from './bench.ts';
import { lossesOf, lossFaults, onceEach } from './recovery.ts';
import type { BenchStack } from './stack.ts';
import {
  prepare,
  referenceOf,
  shorten,
  startInPipeline,
  type Prepared,
  type Reference,
} from './training.ts';

const patienceMs = 1_800_000;

/** Where `startInPipeline` trains. */
export const trialOf = (run: string) => ({ run, phase: 'pretrain', round: 0, trial: 0 });

/** A training that can be held against an undisturbed one, however often it is disturbed. */
export interface Comparable {
  prepared: Prepared;
  recipe: PretrainRecipe;
  reference: Reference;
}

/** The quickstart's training, cut to so many seconds, with about so many saves; trained once by hand, undisturbed. */
export async function prepareComparable(
  stack: BenchStack,
  home: string,
  { seconds, numSaves }: { seconds: number; numSaves: number },
): Promise<Comparable> {
  say('preparing the corpus, and planning');
  const source = await readPipelineFile('config/pipelines/quickstart.yaml');
  const prepared = await prepare(stack, source, home);
  const planned = shorten(prepared.recipe, seconds);
  const recipe = {
    ...planned,
    saveEverySteps: Math.max(5, Math.round(planned.numSteps / numSaves)),
    evalEverySteps: Math.ceil(planned.numSteps / 3),
  };
  say(
    `${recipe.numSteps} steps, a save every ${recipe.saveEverySteps}; the undisturbed training, by hand`,
  );
  const reference = await referenceOf(path.join(home, 'by-hand'), prepared, recipe);
  return { prepared, recipe, reference };
}

/** Starts it once more, as the run of that number. */
export async function startAgain(
  stack: BenchStack,
  { prepared, recipe }: Comparable,
  { run, index }: { run: string; index: number },
): Promise<void> {
  // Part of the stage's name and not of the bits: else a model that was trained before would be reused.
  const own = { ...recipe, unwatchedExitS: recipe.unwatchedExitS + index };
  await startInPipeline(stack, prepared, own, run);
}

/** Null when the training finished, else why it did not; a server that is away is waited for. */
export async function untilEnded({ temporal }: BenchStack, run: string): Promise<string | null> {
  const deadline = Date.now() + patienceMs;
  const handle = temporal.workflow.getHandle(workflowId.training(run, 'pretrain', 0));
  while (Date.now() < deadline) {
    try {
      await handle.result();
      return null;
    } catch (error) {
      if (error instanceof WorkflowFailedError) return String(error.cause ?? error);
      await sleep(500);
    }
  }
  return `not finished within ${patienceMs / 60_000} min`;
}

/** What a finished training told, and each way in which it is not as the undisturbed one; what it left running too. */
export async function compareWith(
  { store }: BenchStack,
  home: string,
  run: string,
  reference: Reference,
): Promise<{ events: TrainerEvent[]; faults: string[] }> {
  const head = await readHead(store, trialOf(run));
  const last = head?.value.chain.at(-1);
  const files = last === undefined ? {} : (await readCheckpoint(store, last)).files;
  const generations = await readGenerations(store, trialOf(run));
  const events = onceEach(generations.flatMap((generation) => generation.events));
  const different = Object.keys(reference.files).filter(
    (name) => files[name]?.sha256 !== reference.files[name],
  );
  const orphans = await findOrphans(home);
  const faults = [
    ...different.map((name) => `${name} of the last checkpoint differs`),
    ...lossFaults(lossesOf(events), reference.losses),
    ...orphans.map((orphan) => `left running: ${orphan}`),
  ];
  return { events, faults };
}
