/** The search for a learning rate: what was decided after each rung, so that it is decided once and stays readable. */
import { rungOutcomeSchema, type RungOutcome, type SweepDecision } from '../config/sweep.ts';
import { keepDecision } from '../registry/decisions.ts';
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
  const digestOf = ({ job, recipes, step, goOn }: Rung) =>
    stageDigest({
      jobs: recipes.map(({ trial, recipe }) => ({
        trial,
        job: stageDigest(jobOf(deps, { ...job, recipe })),
      })),
      step,
      goOn,
    });

  const keep = async (rung: Rung, outcome: RungOutcome) => {
    const { run, phase, round } = rung;
    const at = deps.now().toISOString();
    const decision: SweepDecision = { phase, round, rung: rung.rung, ...outcome, at };
    await keepDecision(store, run, decision);
  };

  return {
    /** What was decided of the same trials before, by this run or another; null where nothing was. */
    async findRung(rung: Rung): Promise<RungOutcome | null> {
      const found = await findStage(store, 'sweep', digestOf(rung), rungOutcomeSchema);
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
      const kept = await recordStage(store, 'sweep', digestOf(rung), rungOutcomeSchema, outcome);
      await keep(rung, kept);
      return kept;
    },

    /** Watches a trial to the end of its rung. */
    async watchTrial(generation: Generation & { start: TrainerStart }): Promise<RungEnd> {
      return await watchTrial(deps, generation);
    },
  };
}
