/** Hosts with the scripted trainer over one store in memory, and their generations, as a workflow runs them. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import type { Deps } from '../../activities/deps.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import type { PretrainRecipe } from '../../config/recipe.ts';
import type { Store } from '../../registry/store.ts';
import { readHead } from '../../registry/training.ts';
import { memoryStore, type MemoryStore } from './memory-store.ts';
import { storeCorpus } from './records.ts';
import { machine, recipe } from './recipes.ts';
import { scriptedDeps, scriptTrainer } from './scripted-host.ts';

/** A store in memory that takes and gives files. */
export function fileStore(): MemoryStore {
  const store = memoryStore();
  return {
    ...store,
    putFileIfAbsent: async (key, file) => await store.putIfAbsent(key, await readFile(file)),
    download: async (key, file) => {
      const found = store.objects.get(key);
      if (found === undefined) return false;
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, found);
      return true;
    },
  };
}

export const workflowExecution = { workflowId: 'training/x', runId: 'r' };

export interface ScriptedHost {
  deps: Deps;
  runDir: string;
  activities: ReturnType<typeof createTrainActivities>;
  script(what: object): Promise<void>;
  /** Opens the next generation. */
  open(changes?: Partial<Generation>): Promise<Generation>;
  prepare(generation: Generation): Promise<TrainerStart>;
  watch(
    generation: Generation,
    start: TrainerStart,
    env?: MockActivityEnvironment,
  ): Promise<TrainedModel>;
  close(): Promise<void>;
}

const quiet = { logger: new DefaultLogger('ERROR') };
export const environment = () => new MockActivityEnvironment({ workflowExecution }, quiet);

/** A host of its own home, for one trial of a job of so many steps. */
export async function scriptedHost(
  store: Store,
  {
    run,
    host = 'one',
    changes = {},
    ...more
  }: { run: string; host?: string; changes?: Partial<PretrainRecipe> } & Partial<Deps>,
): Promise<ScriptedHost> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'temper-host-'));
  const trial = { run, phase: 'pretrain' as const, round: 0, trial: 0 };
  const runDir = path.join(home, 'runs', run, 'pretrain-0-0');
  const deps = { ...scriptedDeps({ store, home, host }), ...more };
  const activities = createTrainActivities(deps);
  const job = {
    trial,
    recipe: { ...recipe.pretrain, numSteps: 30, saveEverySteps: 10, ...changes },
    shape: recipe.model,
    machine,
    corpus: await storeCorpus(store),
    init: null,
  };
  await scriptTrainer(home, {});
  return {
    deps,
    runDir,
    activities,
    script: (what) => scriptTrainer(home, what),
    open: async (changed = {}) => {
      const stage = changed.stage ?? (await activities.findTrainedModel(job)).stage;
      const writer = `writer-${Math.random()}`;
      const { budget } = changed;
      const opening = { trial, stage, writer, ...(budget && { budget }) };
      const { fence } = await activities.openTrainingGeneration(opening);
      return { job, stage, fence, writer, ...changed };
    },
    prepare: async (generation) =>
      (await environment().run(activities.prepareTrainer, generation)) as TrainerStart,
    watch: async (generation, start, env = environment()) =>
      (await env.run(activities.watchTrainer, { ...generation, start })) as TrainedModel,
    close: async () => {
      await endTrainer(runDir, 0);
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** The head of the trial of such a host. */
export async function headOf(store: Store, run: string) {
  return (await readHead(store, { run, phase: 'pretrain', round: 0, trial: 0 }))!.value;
}
