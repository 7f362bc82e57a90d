/**
 * Training as activities: find what is done already, lease a host, open a generation, adopt or start
 * the trainer, watch it. `head.json` alone says what counts.
 */
import { modelManifestSchema } from '../config/manifests.ts';
import { acquireHost, releaseHost } from '../registry/leases.ts';
import { findStage, stageDigest } from '../registry/stages.ts';
import { openGeneration } from '../registry/training.ts';
import { trainerCode } from './stage-records.ts';
import type { Deps } from './deps.ts';
import { prepareTrainer, type TrainerStart } from './trainer-start.ts';
import { watchTrainer } from './trainer-watch.ts';
import { hostPool, leaseTtlMs, summariseModel, trainingJobSchema } from './training-job.ts';
import type { Generation, TrainedModel, TrainingJob } from './training-job.ts';

export type TrainActivities = ReturnType<typeof createTrainActivities>;

export function createTrainActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** The digest of the job, and its result if any run has trained the same before. */
    async findTrainedModel(
      job: TrainingJob,
    ): Promise<{ stage: string; model: TrainedModel | null }> {
      const { recipe, shape, machine, corpus, init } = trainingJobSchema.parse(job);
      const stage = stageDigest({
        recipe,
        shape,
        // The kind of device decides the bits; how many cores or gigabytes it has does not.
        device: { device: machine.device, instructionSet: machine.instructionSet },
        corpus,
        init,
        code: trainerCode(deps.projectDir),
      });
      const model = await findStage(store, recipe.phase, stage, modelManifestSchema);
      return { stage, model: model && summariseModel(stage, model, true) };
    },

    /** Leases the host on which it runs: whoever calls it then uses that host's own queue. */
    async leaseHost(input: { holder: string; unwatchedExitS: number }): Promise<{ host: string }> {
      const lease = await acquireHost(store, hostPool, deps.host, {
        holder: input.holder,
        now: deps.now(),
        ttlMs: leaseTtlMs(input.unwatchedExitS),
      });
      if (lease === null)
        throw new Error(`host ${deps.host} is leased to another training; waiting for it`);
      return { host: deps.host };
    },

    async releaseHost(input: { host: string; holder: string }): Promise<void> {
      await releaseHost(store, hostPool, input.host, { holder: input.holder });
    },

    /** Fences off every older watcher of this trial. */
    async openTrainingGeneration(input: {
      trial: TrainingJob['trial'];
      writer: string;
    }): Promise<{ fence: number; durableStep: number }> {
      const head = await openGeneration(store, input.trial, input.writer);
      return { fence: head.fence, durableStep: head.chain.at(-1)?.step ?? 0 };
    },

    async prepareTrainer(generation: Generation): Promise<TrainerStart> {
      return await prepareTrainer(deps, generation);
    },

    async watchTrainer(generation: Generation & { start: TrainerStart }): Promise<TrainedModel> {
      return await watchTrainer(deps, generation);
    },
  };
}
