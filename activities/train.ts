/**
 * Training as activities: find what is done already, lease a host, open a generation, adopt or start
 * the trainer, watch it, stop it. `head.json` alone says what counts.
 */
import { modelManifestSchema } from '../config/manifests.ts';
import { computesAs, type InstructionSet } from '../config/instruction-set.ts';
import type { Gpu } from '../config/recipe.ts';
import { recordLease, recordRelease } from '../registry/costs.ts';
import { hasGpus, isLeaving, livingHosts } from '../registry/hosts.ts';
import { acquireHost, releaseHost } from '../registry/leases.ts';
import { readRunControl } from '../registry/run-control.ts';
import { findBegun, putJob } from '../registry/jobs.ts';
import { findStage, stageDigest } from '../registry/stages.ts';
import { openGeneration } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { findGpus } from './gpus.ts';
import { findInstructionSet } from './instruction-set.ts';
import { demandedSet } from './demanded-set.ts';
import { refuseIfLeaving } from './leaving.ts';
import { continuedSince } from './training-budget.ts';
import { ownTime } from './trainer-signs.ts';
import { prepareTrainer, type TrainerStart } from './trainer-start.ts';
import { stopTrainer, type TrainerStop } from './trainer-stop.ts';
import { watchTrainer } from './trainer-watch.ts';
import { jobOf } from './training-code.ts';
import { costOf, hostPool, leaseTtlMs, summariseModel, trainingJobSchema } from './training-job.ts';
import type {
  Generation,
  LeasedHost,
  PhaseBudget,
  TrainedModel,
  TrainingJob,
} from './training-job.ts';

export type TrainActivities = ReturnType<typeof createTrainActivities>;

/** By which the clocks of hosts may differ; less than an attempt to give a host back may take. */
const clocksMs = 50_000;

/** By its own look; of another host by what it says, and where it says nothing it has what it had. */
async function gpusOf(deps: Deps, host: string | null, wanted: Gpu): Promise<Gpu | null> {
  if (host === null) return await (deps.findGpus ?? findGpus)();
  const living = await livingHosts(deps.store, hostPool, deps.now());
  const said = living.find((report) => report.host === host);
  return said === undefined ? wanted : (said.gpu ?? null);
}

export function createTrainActivities(deps: Deps) {
  const { store } = deps;
  return {
    /**
     * The digest of the job, as it began in this run by whatever code, and its result if any run has trained the same
     * before.
     */
    async findTrainedModel(
      job: TrainingJob,
    ): Promise<{ stage: string; model: TrainedModel | null }> {
      const { recipe } = job;
      const kept = jobOf(deps, trainingJobSchema.parse(job));
      const planned = stageDigest(kept);
      const begun = await findBegun(store, job.trial, kept);
      const stage = begun?.stage ?? planned;
      // What this run has finished is followed by what it made of that, and by nothing of another.
      const names = begun?.finished == null ? new Set([stage, planned]) : [stage];
      for (const name of names) {
        const model = await findStage(store, recipe.phase, name, modelManifestSchema);
        if (model !== null) return { stage, model: summariseModel(name, model, true) };
      }
      if (stage === planned) await putJob(store, kept);
      return { stage, model: null };
    },

    /** Leases a host, or says who has it. Without a name it is the one that this runs on. */
    async leaseHost(input: {
      host: string | null;
      holder: string;
      unwatchedExitS: number;
      /** Whose cost it is; left out by older versions. */
      trial?: TrainingJob['trial'];
      /** What the plan counts on; left out: no GPUs, or by older versions. */
      gpu?: Gpu;
      /** Whose bits the plan names; left out: on GPUs, or by older versions. */
      instructionSet?: InstructionSet;
      /** How long the asker has waited for a host; left out by older versions. */
      waitedS?: number;
    }): Promise<LeasedHost> {
      const host = input.host ?? deps.host;
      if (input.host === null) refuseIfLeaving(deps);
      const now = deps.now();
      if (input.host !== null && (await isLeaving(store, hostPool, host))) {
        const expiresAt = now.toISOString();
        return { host, busy: { holder: input.holder, expiresAt, lacks: 'time left' } };
      }
      const { gpu } = input;
      if (gpu !== undefined && !hasGpus(await gpusOf(deps, input.host, gpu), gpu)) {
        const lacks = `${gpu.count} × ${gpu.name}`;
        return { host, busy: { holder: input.holder, expiresAt: now.toISOString(), lacks } };
      }
      // One by name is had again: its trainer may run there, and be adopted.
      const instructionSet = input.host === null ? await demandedSet(deps, input) : undefined;
      const findSet = deps.findInstructionSet ?? findInstructionSet;
      if (instructionSet !== undefined && !computesAs(await findSet(), instructionSet)) {
        const lacks = `the instruction set ${instructionSet}`;
        return { host, busy: { holder: input.holder, expiresAt: now.toISOString(), lacks } };
      }
      const lease = await acquireHost(store, hostPool, host, {
        holder: input.holder,
        now,
        ttlMs: leaseTtlMs(input.unwatchedExitS),
      });
      const { ours, holder, expiresAt } = lease;
      if (ours && input.trial !== undefined) {
        await recordLease(store, input.trial.run, costOf(input.trial, host, lease, now));
      }
      return { host, busy: ours ? null : { holder, expiresAt } };
    },

    async releaseHost(input: {
      host: string;
      holder: string;
      trial?: TrainingJob['trial'];
      /** Milliseconds of the workflow's clock; left out by older versions. */
      askedAt?: number;
    }): Promise<void> {
      const { host, holder, trial } = input;
      // Whoever comes late finds the lease of a later execution, which has the same name.
      const before = input.askedAt === undefined ? undefined : input.askedAt + clocksMs;
      // First what it cost: a host that is given back twice is paid for once.
      if (trial !== undefined) await recordRelease(store, trial, { host, now: deps.now(), before });
      await releaseHost(store, hostPool, host, { holder, before });
    },

    /** Fences off every older watcher of this trial. */
    async openTrainingGeneration(input: {
      trial: TrainingJob['trial'];
      stage: string;
      writer: string;
      execution?: string;
      budget?: PhaseBudget;
      /** What another job has trained here was made of a model that is superseded. */
      replaces?: boolean;
      /** Writer of the generation before, in the same execution; left out: this is its first, or by older versions. */
      after?: string;
    }): Promise<{ fence: number; durableStep: number; paused?: boolean }> {
      const isOver = ownTime();
      const { trial, stage, writer, after, replaces = false } = input;
      const continued = await continuedSince(deps, input);
      const opening = { stage, writer, replaces, continued, after, isOver };
      const head = await openGeneration(store, trial, opening);
      const wish = await readRunControl(store, input.trial.run, input.execution);
      const durableStep = head.chain.at(-1)?.step ?? 0;
      const paused = (wish?.paused ?? null) !== null;
      return { fence: head.fence, durableStep, ...(paused && { paused }) };
    },

    async prepareTrainer(generation: Generation): Promise<TrainerStart> {
      return await prepareTrainer(deps, generation);
    },

    async watchTrainer(generation: Generation & { start: TrainerStart }): Promise<TrainedModel> {
      return await watchTrainer(deps, generation);
    },

    async stopTrainer(stop: TrainerStop): Promise<void> {
      await stopTrainer(deps, stop);
    },
  };
}
