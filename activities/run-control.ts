/** Brings what people ask of a run to where the watchers of its trainers look. */
import type { RunControl } from '../config/manifests.ts';
import { putRunControl } from '../registry/run-control.ts';
import type { Deps } from './deps.ts';

export function createRunControlActivities({ store }: Pick<Deps, 'store'>) {
  return {
    async recordRunControl(input: { run: string; control: RunControl }): Promise<void> {
      await putRunControl(store, input.run, input.control);
    },
  };
}
export type RunControlActivities = ReturnType<typeof createRunControlActivities>;
