/** Brings what people ask of a run to where the watchers of its trainers look. */
import type { RunControl } from '../config/manifests.ts';
import type { HeldBudget } from '../config/recipe.ts';
import type { AddedBudget } from '../config/run-records.ts';
import { addToBudget, limitMs, spentMs } from '../registry/costs.ts';
import { putRunControl } from '../registry/run-control.ts';
import type { Deps } from './deps.ts';

export function createRunControlActivities({ store, now }: Pick<Deps, 'store' | 'now'>) {
  return {
    async recordRunControl(input: { run: string; control: RunControl }): Promise<void> {
      await putRunControl(store, input.run, input.control);
    },

    /** Adds to the budget of a run; says what it has spent and may spend then. */
    async recordBudget(input: {
      run: string;
      added: AddedBudget;
      held: HeldBudget;
    }): Promise<{ spentMs: number; limitMs: number }> {
      const cost = await addToBudget(store, input.run, input.added);
      return { spentMs: spentMs(cost, now()), limitMs: limitMs(input.held, cost) };
    },
  };
}
export type RunControlActivities = ReturnType<typeof createRunControlActivities>;
