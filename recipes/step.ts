/** What is decided step by step: how often to save, and why a step is as large, and computed by as many processes, as it is. */
import { phasesOf, type PhaseRecipe, type Reason, type Recipe } from '../config/recipe.ts';

/** Between checkpoints, at least about. */
const leastSaveMs = 20_000;
/** Of one phase, for every checkpoint is kept: what a kill costs grows with a long training, as a share it does not. */
const mostSaves = 500;

/** Steps between checkpoints. */
export function saveEvery(stepMs: number, numSteps: number): number {
  const often = Math.round(leastSaveMs / stepMs);
  return Math.max(1, Math.min(numSteps, Math.max(often, Math.ceil(numSteps / mostSaves))));
}

/** What a kill costs at most: the steps since the last save, or what comes after the last of them, and another start. */
export function lostIfKilledMs(
  { saveEverySteps }: Pick<PhaseRecipe, 'saveEverySteps'>,
  { stepMs, startMs, endMs = 0 }: { stepMs: number; startMs: number; endMs?: number },
): number {
  return Math.round(Math.max(saveEverySteps * stepMs, endMs) + startMs);
}

/** Why it is saved so often, with what a kill costs by the plan. */
export function checkpointsReason(
  { saveEverySteps, lora }: Pick<PhaseRecipe, 'saveEverySteps' | 'lora'>,
  lostMs: number,
): Reason {
  return {
    choice: 'checkpoints',
    value: `every ${saveEverySteps} steps${lora === undefined ? '' : ', the adapters alone'}`,
    reason: `a kill costs the steps since the last one${lora === undefined ? '' : ', or the scoring and writing at the end,'} and a restart, ${Math.round(lostMs / 1000)} s at most`,
    source: `Young 1974: cheap saves, so often; at most ${mostSaves} of a phase, for each is kept`,
  };
}

/** The recipe where another phase of it may cost more than what was counted. */
export function losingAtMost<Planned extends Recipe>(planned: Planned, lostMs: number): Planned {
  const { estimate, reasons } = planned;
  const [first] = phasesOf(planned);
  if (lostMs <= estimate.lostIfKilledMs || first === undefined) return planned;
  return {
    ...planned,
    estimate: { ...estimate, lostIfKilledMs: lostMs },
    reasons: reasons.map((reason) =>
      reason.choice === 'checkpoints' ? checkpointsReason(first, lostMs) : reason,
    ),
  };
}

/** The reasons for the batch of a phase and for its ranks. */
export function stepReasons(recipe: PhaseRecipe): Reason[] {
  const { batchSize, contextLength, lora } = recipe;
  return [
    {
      choice: 'batch',
      value: `${batchSize} sequences of ${contextLength} tokens`,
      reason:
        lora === undefined
          ? 'small models learn from small batches: a larger one buys fewer steps for the same time'
          : 'few documents make few steps: a larger batch would leave too few to learn from',
      source: 'McCandlish et al. 2018; measured in docs/log.md',
    },
    parallelismReason(recipe),
  ];
}

/** Why so many ranks, and why each holds what it holds. */
export function parallelismReason({ worldSize, threads, parallelism }: PhaseRecipe): Reason {
  const choice = 'parallelism';
  if (parallelism === 'fsdp2') {
    return {
      choice,
      value: `FSDP2, ${worldSize} ranks of ${threads} threads, each with a part of the weights`,
      reason:
        'the weights do not fit into each rank, or it was asked for: a layer is gathered when it is computed with',
      source: 'Rajbhandari et al. 2020, Zhao et al. 2023; docs/decisions/0012',
    };
  }
  return {
    choice,
    value:
      worldSize === 1
        ? `none, ${threads} threads`
        : `DDP, ${worldSize} ranks of ${threads} threads, each with all weights`,
    reason:
      worldSize === 1
        ? 'one process, with as many threads as the machine has and such a model fills; ranks would hold the weights once more each'
        : 'the weights fit into each rank, so only gradients are exchanged',
    source: 'Li et al. 2020; docs/scale.md for what needs more',
  };
}
