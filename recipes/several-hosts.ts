/** A recipe for several hosts: every batch is parted among them, and what is trained stays the same. */
import type { Pipeline } from '../config/pipeline.ts';
import type { Recipe } from '../config/recipe.ts';
import { canPart, DoesNotFit, type Ranks } from './memory.ts';
import { parallelismReason } from './step.ts';

/** On how many hosts a run pretrains. */
export function hostsOf(compute: Pipeline['compute']): number {
  return compute === 'local' ? 1 : compute.hosts;
}

/** One rank a host, and how they share the weights where the pipeline says it. */
export function ranksOf(compute: Pipeline['compute']): Ranks {
  if (compute === 'local') return {};
  const { hosts, parallelism } = compute;
  return { ranks: hosts, ...(parallelism && { parallelism }) };
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
  if (compute.parallelism === 'fsdp2' && !canPart({ ...pretrain, shape: recipe.model })) {
    throw new DoesNotFit(
      'compute.parallelism: found fsdp2 for an architecture that was given, expected a Llama or a Qwen, whose layers ' +
        'the trainer parts; use ddp',
    );
  }
  const parted = { ...pretrain, worldSize: hosts };
  return {
    ...recipe,
    pretrain: parted,
    estimate: { ...estimate, usd: Number((estimate.usd * hosts).toFixed(2)) },
    reasons: [
      ...recipe.reasons.map((reason) =>
        reason.choice === 'parallelism' ? parallelismReason(parted) : reason,
      ),
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
