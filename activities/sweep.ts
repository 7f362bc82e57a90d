/** The search for a learning rate: what was decided after each rung, so that it is decided once and stays readable. */
import { rungOutcomeSchema, type RungOutcome, type SweepDecision } from '../config/sweep.ts';
import { keepDecision } from '../registry/decisions.ts';
import { findBegun } from '../registry/jobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import type { Deps } from './deps.ts';
import type { TrainerStart } from './trainer-start.ts';
import { watchTrial } from './trainer-watch.ts';
import { jobOf } from './training-code.ts';
import type { Generation, RungEnd, TrainingJob } from './training-job.ts';

/** The trials of a rung, each by its job. */
export interface Rung {
  run: string;
  phase: string;
  round: number;
  rung: number;
  step: number;
  /** How many go on. */
  goOn: number;
  /** What all trials share; `recipes` are theirs, by the number of the trial. */
  job: Omit<TrainingJob, 'trial' | 'recipe'>;
  recipes: { trial: number; recipe: TrainingJob['recipe'] }[];
}

export type SweepActivities = ReturnType<typeof createSweepActivities>;

export function createSweepActivities(deps: Deps) {
  const { store } = deps;

  /** Equal jobs, compared at an equal step, are decided alike, whichever run asks. */
  const digestOf = async (rung: Rung) => {
    const jobs = rung.recipes.map(async ({ trial, recipe }) => ({
      trial,
      job: await trainedAs(rung, trial, recipe),
    }));
    const { step, goOn } = rung;
    return stageDigest({ jobs: await Promise.all(jobs), step, goOn });
  };

  /** The stage of a trial, as it began; with the other code, where some has computed a part of this rung. */
  const trainedAs = async (
    { run, phase, round, step, job }: Rung,
    trial: number,
    recipe: TrainingJob['recipe'],
  ) => {
    const kept = jobOf(deps, { ...job, recipe });
    const begun = await findBegun(store, { run, phase, round, trial }, kept);
    const stage = begun?.stage ?? stageDigest(kept);
    const codes = (begun?.codes ?? []).filter((entry) => entry.step < step);
    return codes.length === 0 ? stage : stageDigest({ stage, codes });
  };

  const keep = async (rung: Rung, outcome: RungOutcome) => {
    const { run, phase, round } = rung;
    const at = deps.now().toISOString();
    const decision: SweepDecision = { phase, round, rung: rung.rung, ...outcome, at };
    await keepDecision(store, run, decision);
  };

  return {
    /** What was decided of the same trials before, by this run or another; null where nothing was. */
    async findRung(rung: Rung): Promise<RungOutcome | null> {
      const found = await findStage(store, 'sweep', await digestOf(rung), rungOutcomeSchema);
      if (found !== null) await keep(rung, found);
      return found;
    },

    /** Makes a decision count; whoever decided the same rung first is followed. */
    async recordRung({
      rung,
      outcome,
    }: {
      rung: Rung;
      outcome: RungOutcome;
    }): Promise<RungOutcome> {
      const kept = await recordStage(
        store,
        'sweep',
        await digestOf(rung),
        rungOutcomeSchema,
        outcome,
      );
      await keep(rung, kept);
      return kept;
    },

    /** Watches a trial to the end of its rung. */
    async watchTrial(generation: Generation & { start: TrainerStart }): Promise<RungEnd> {
      return await watchTrial(deps, generation);
    },
  };
}
