/** A recipe for several hosts: every batch is parted among them, and what is trained stays the same. */
import type { Pipeline } from '../config/pipeline.ts';
import type { Recipe } from '../config/recipe.ts';
import { DoesNotFit } from './memory.ts';

/** On how many hosts a run pretrains. */
export function hostsOf(compute: Pipeline['compute']): number {
  return compute === 'local' ? 1 : compute.hosts;
}

/** Pretraining on so many hosts as the pipeline names; what is tuned afterwards trains on one. */
export function onHosts(recipe: Recipe, { compute }: Pick<Pipeline, 'compute'>): Recipe {
  if (compute === 'local') return recipe;
  const { hosts } = compute;
  const { pretrain, estimate } = recipe;
  if (pretrain === null) {
    throw new DoesNotFit(
      `compute.hosts: found ${hosts} for phases without pretraining, which alone trains on several; use compute: local`,
    );
  }
  const { batchSize } = pretrain;
  if (batchSize % hosts !== 0 || pretrain.lora !== undefined) {
    throw new DoesNotFit(
      `compute.hosts: found ${hosts}, expected a number that parts a batch of ${batchSize} equally, and no adapters; ` +
        'use compute: local',
    );
  }
  return {
    ...recipe,
    pretrain: { ...pretrain, worldSize: hosts },
    estimate: { ...estimate, usd: Number((estimate.usd * hosts).toFixed(2)) },
    reasons: [
      ...recipe.reasons,
      {
        choice: 'hosts',
        value: `${hosts}`,
        reason:
          `each trains on ${batchSize / hosts} of the ${batchSize} rows of a batch; steps and time are planned as for one ` +
          'host, since what the network costs is not known before it is measured',
        source: 'Li et al. 2020, PyTorch Distributed',
      },
    ],
  };
}
