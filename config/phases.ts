/** The phases that a pipeline file may name: which combinations there are, and what else is said of the others. */
import { phaseNames, type Phase } from './recipe.ts';

/** What of a pipeline file the phases must fit. */
export interface PhasesAsked {
  phases: readonly Phase[];
  goal?: string | undefined;
  startFrom: string;
  /** It has questions, or means to. */
  asks: boolean;
  stopOnPlateau?: boolean | undefined;
  /** It tries several rates of pretraining. */
  sweeps?: boolean | undefined;
}

export interface PhasesFault {
  field: 'phases' | 'goal';
  found: string;
  expected: string;
  hint: string;
}

/** Whether phases teach a model to answer, beside reading documents. */
export function tunes(phases: readonly Phase[]): boolean {
  return phases.some((phase) => phase !== 'pretrain');
}

/** Why these phases cannot be gone through; null where they can, as far as the file alone tells. */
export function phasesFault(asked: PhasesAsked): PhasesFault | null {
  const { phases, goal, startFrom, asks, stopOnPlateau, sweeps } = asked;
  const list = `[${phases.join(', ')}]`;
  const fault = (found: string, expected: string, hint: string): PhasesFault => ({
    field: 'phases',
    found,
    expected,
    hint,
  });
  const reads = phases.includes('pretrain');
  const tuned = phases.filter((phase) => phase !== 'pretrain');
  // What teaches a model to answer is told with the goal.
  if (goal === 'embeddings' && tuned.length > 0) return null;
  if (phases.includes('dpo') && phases.includes('orpo')) {
    const hint = 'Both learn from the same pairs of answers; orpo needs no sft before it.';
    return fault(list, 'dpo or orpo, not both', hint);
  }
  const order = phaseNames.filter((name) => phases.includes(name));
  if (order.length !== phases.length || order.some((name, at) => name !== phases[at])) {
    const hint = `Write phases: [${order.join(', ')}].`;
    return fault(list, 'each phase once, in the order pretrain, sft, then dpo or orpo', hint);
  }
  if (!reads && startFrom === 'scratch') {
    const hint = `Write phases: [pretrain, ${tuned.join(', ')}], or say in startFrom which model to tune.`;
    return fault(
      `${list} with startFrom scratch`,
      'pretrain first, for there is no model yet',
      hint,
    );
  }
  if (phases.includes('dpo') && !phases.includes('sft') && reads) {
    const hint = 'Add sft before it, or take orpo, which needs none.';
    return fault(list, 'sft before dpo, for the documents teach no answers', hint);
  }
  if (tuned.length > 0 && !asks) {
    const hint = `Add questions${reads ? ', or write phases: [pretrain]' : ''}.`;
    return fault(
      `${list}, and no questions`,
      `questions that ${tuned.join(' and ')} can learn from`,
      hint,
    );
  }
  if (stopOnPlateau === true && !reads) {
    const hint = 'Remove budget.stopOnPlateau, which ends pretraining early.';
    return fault(`${list} with budget.stopOnPlateau`, 'phases with pretrain', hint);
  }
  if (sweeps === true && !reads) {
    const hint = 'Remove sweep, which tries rates of pretraining.';
    return fault(`${list} with sweep`, 'phases with pretrain', hint);
  }
  const wanted = tuned.length > 0 ? ['assistant'] : ['base', 'adapt', 'embeddings'];
  if (goal === undefined || wanted.includes(goal)) return null;
  return {
    field: 'goal',
    found: `${goal} with phases ${list}`,
    expected: wanted.join(' or '),
    hint: 'Leave goal out: the phases say it.',
  };
}
