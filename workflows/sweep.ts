/**
 * Several learning rates, tried by successive halving: all train to the end of a rung, the best go on from their own
 * checkpoints, until one is left. The plan says how far and how many; what was decided stands in `decisions.json`.
 */
import {
  ApplicationFailure,
  CancellationScope,
  ChildWorkflowFailure,
  condition,
  log,
  proxyActivities,
  setHandler,
  startChild,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import type { Rung, SweepActivities } from '../activities/sweep.ts';
import type { RungEnd } from '../activities/training-job.ts';
import { FailureType } from '../config/failures.ts';
import type { PretrainRecipe, ReadingRecipe } from '../config/recipe.ts';
import type { RungOutcome, SweepPlan } from '../config/sweep.ts';
import { control } from './activity-options.ts';
import { describeRung, describeScale } from './describe.ts';
import { hostFreedSignal, trialLeasedSignal, workflowId } from './messages.ts';
import { rootMessage } from './root-message.ts';
import type { StageBoard } from './stage-board.ts';
import { trialWorkflow, type TrainingInput } from './training.ts';

const { findRung, recordRung } = proxyActivities<SweepActivities>({
  ...control,
  summary: 'decide which trials go on',
});

/** What all trials share. */
type Shared = Omit<TrainingInput, 'trial' | 'recipe' | 'from' | 'budget'>;

/** The trial that is left: it goes on from where its last rung ended. */
export interface Chosen {
  trial: number;
  multiple: number;
  recipe: PretrainRecipe;
  from: number;
}

/** Tries the rates of the plan; resolves with the one that trains to the end. */
export async function searchRate(
  board: StageBoard,
  { pretrain }: Pick<ReadingRecipe, 'pretrain'>,
  { trials, rungs }: SweepPlan,
  shared: Shared,
): Promise<Chosen> {
  const { run, round, execution: _, replaces: __, ...job } = shared;
  const recipeOf = (trial: number): PretrainRecipe => {
    const { learningRate, adamLearningRate } = trials[trial]!;
    return { ...pretrain, learningRate, adamLearningRate };
  };
  let going = trials.map((_trial, trial) => trial);
  let from: number | null = null;
  for (const [index, { step, goOn }] of rungs.entries()) {
    // Others diverged: who is left need not be compared.
    if (going.length === 1) break;
    const recipes = going.map((trial) => ({ trial, recipe: recipeOf(trial) }));
    const rung: Rung = { run, phase: 'pretrain', round, rung: index, step, goOn, job, recipes };
    board.say('pretrain', `tries ${going.length} learning rates to step ${step}`);
    const found = await findRung(rung);
    const outcome =
      found ??
      (await recordRung({
        rung,
        outcome: decide(
          trials,
          step,
          goOn,
          await trainRung(
            board,
            { ...rung, recipes },
            { ...shared, ...(from !== null && { from }) },
          ),
        ),
      }));
    const decided = { phase: 'pretrain' as const, round, rung: index, ...outcome };
    board.status.sweep = [...(board.status.sweep ?? []), decided];
    board.note(describeRung(outcome));
    if (outcome.goesOn.length === 0) throw allDiverged(outcome);
    going = outcome.goesOn.toSorted((a, b) => a - b);
    from = step;
  }
  board.say('pretrain', '');
  const [trial] = going as [number];
  return { trial, multiple: trials[trial]!.multiple, recipe: recipeOf(trial), from: from! };
}

/** How the rung of a trial ended: null where it diverged. */
type Ended = { trial: number; end: RungEnd | null; failure?: string };

/** The lowest losses go on; of equal ones the smaller number. */
function decide(
  trials: SweepPlan['trials'],
  step: number,
  goOn: number,
  ended: Ended[],
): RungOutcome {
  const told = ended
    .toSorted((a, b) => a.trial - b.trial)
    .map(({ trial, end, failure }) => ({
      trial,
      multiple: trials[trial]!.multiple,
      learningRate: trials[trial]!.learningRate,
      loss: end?.loss ?? null,
      valBpb: end?.valBpb ?? null,
      ...(failure !== undefined && { failure }),
    }));
  const goesOn = told
    .filter((one): one is typeof one & { loss: number } => one.loss !== null)
    .toSorted((a, b) => a.loss - b.loss || a.trial - b.trial)
    .slice(0, goOn)
    .map(({ trial }) => trial);
  return { step, trials: told, goesOn };
}

/**
 * Trains every trial to the end of the rung. One at most waits for a host: the next is started when it has one, so
 * that they run side by side on as many hosts as there are, and one after the other on one.
 */
async function trainRung(
  board: StageBoard,
  { run, phase, round, step, recipes }: Rung,
  shared: Shared & { from?: number },
): Promise<Ended[]> {
  const leased = new Set<number>();
  setHandler(trialLeasedSignal, ({ trial }) => {
    leased.add(trial);
  });
  const handles = new Map<number, ChildWorkflowHandle<typeof trialWorkflow>>();
  const ended: Ended[] = [];
  let fault: { failure: unknown } | null = null;
  const running: Promise<void>[] = [];
  const wakeOthers = async () => {
    for (const [trial, handle] of handles) {
      if (leased.has(trial)) continue;
      try {
        await handle.signal(hostFreedSignal);
      } catch (failure) {
        // It has just ended.
        log.warn('trial not woken', { run, trial, reason: String(failure) });
      }
    }
  };
  const scope = new CancellationScope();
  const work = scope.run(async () => {
    for (const { trial, recipe } of recipes) {
      await condition(() => fault !== null || [...handles.keys()].every((one) => leased.has(one)));
      if (fault !== null) break;
      const id = workflowId.trial(run, phase, round, trial);
      const handle = await startChild(trialWorkflow, {
        workflowId: id,
        staticSummary: `${phase}, trial ${trial} at ${recipe.learningRate}: to step ${step}`,
        args: [{ ...shared, trial, recipe, until: step }],
      });
      board.trials.add(id);
      handles.set(trial, handle);
      running.push(
        endOf(trial, handle)
          .then(
            (end) => void ended.push(end),
            (failure: unknown) => {
              fault ??= { failure };
              // What the others would find helps nobody.
              scope.cancel();
            },
          )
          .finally(() => {
            handles.delete(trial);
            board.trials.delete(id);
          })
          .then(wakeOthers),
      );
    }
  });
  await work.catch((failure: unknown) => {
    fault ??= { failure };
    scope.cancel();
  });
  await Promise.all(running);
  if (fault !== null) throw (fault as { failure: unknown }).failure;
  return ended;
}

/** A trial that diverged has lost its rung; any other failure is the run's. */
async function endOf(
  trial: number,
  handle: ChildWorkflowHandle<typeof trialWorkflow>,
): Promise<Ended> {
  try {
    return { trial, end: await handle.result() };
  } catch (failure) {
    if (!(failure instanceof ChildWorkflowFailure) || !hasDiverged(failure)) throw failure;
    return { trial, end: null, failure: rootMessage(failure) };
  }
}

function hasDiverged(failure: unknown): boolean {
  for (let current = failure; current instanceof Error; current = current.cause) {
    if (current instanceof ApplicationFailure && current.type === FailureType.TrainingDiverged)
      return true;
  }
  return false;
}

function allDiverged({ step, trials }: RungOutcome): ApplicationFailure {
  const told = trials.map(
    ({ multiple, learningRate, failure }) =>
      `${describeScale(multiple)} (${learningRate}): ${failure ?? 'no loss'}`,
  );
  return ApplicationFailure.nonRetryable(
    `sweep: all ${trials.length} learning rates diverged before step ${step}. Try lower ones, or look at the documents. ${told.join('; ')}`,
    FailureType.TrainingDiverged,
  );
}
