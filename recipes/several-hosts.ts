/** A recipe for several hosts: every batch is parted among them, and what is trained stays the same. */
import type { Pipeline } from '../config/pipeline.ts';
import { ranksAHost, type Gpu, type Machine, type Reason, type Recipe } from '../config/recipe.ts';
import { canPart, DoesNotFit, type Ranks } from './memory.ts';
import { parallelismReason } from './step.ts';

/** On how many hosts a run pretrains. */
export function hostsOf(compute: Pipeline['compute']): number {
  return compute === 'local' ? 1 : (compute.hosts ?? 1);
}

/** The ranks of all hosts, and how they share the weights where the pipeline says it. */
export function ranksOf(compute: Pipeline['compute'], machine: Machine): Ranks {
  if (compute === 'local') return {};
  const { parallelism } = compute;
  const ranks = hostsOf(compute) * ranksAHost(machine);
  return { ranks, ...(parallelism && { parallelism }) };
}

/** Whether a run pretrains on GPUs. */
export function wantsGpus(compute: Pipeline['compute']): boolean {
  return compute !== 'local' && compute.device === 'cuda';
}

/** The machine to plan for: its GPUs where the pipeline asks for them, else its cores. */
export function machineFor(
  compute: Pipeline['compute'],
  machine: Machine,
  gpu: Gpu | null,
): Machine {
  if (!wantsGpus(compute)) return machine;
  if (gpu !== null) return { ...machine, device: 'cuda', gpu };
  throw new DoesNotFit(
    'compute.device: found no host that says it has GPUs, expected a gpu worker on a host where `nvidia-smi` lists ' +
      'some. Start one there, wait 15 s, or remove device: cuda to train on the CPU',
  );
}

/** Pretraining on so many hosts as the pipeline names; what is tuned afterwards trains on one. */
export function onHosts(recipe: Recipe, { compute }: Pick<Pipeline, 'compute'>): Recipe {
  if (compute === 'local') return recipe;
  const hosts = hostsOf(compute);
  const ranks = hosts * ranksAHost(recipe.machine);
  const { pretrain, estimate, machine } = recipe;
  if (pretrain === null) {
    throw new DoesNotFit(
      `compute.hosts: found ${hosts} for phases without pretraining, which alone trains on several; use compute: local`,
    );
  }
  const { batchSize } = pretrain;
  if (batchSize % ranks !== 0 || pretrain.lora !== undefined) {
    throw new DoesNotFit(
      `compute.hosts: found ${hosts}${ranks === hosts ? '' : ` of ${ranks / hosts} GPUs`}, expected a number that parts a batch of ${batchSize} equally, and no adapters; ` +
        'use compute: local',
    );
  }
  if (compute.parallelism === 'fsdp2' && !canPart({ ...pretrain, shape: recipe.model })) {
    throw new DoesNotFit(
      'compute.parallelism: found fsdp2 for an architecture that was given, expected a Llama or a Qwen, whose layers ' +
        'the trainer parts; use ddp',
    );
  }
  const threads = Math.max(1, Math.floor(machine.cores / ranksAHost(machine)));
  const parted = {
    ...pretrain,
    worldSize: ranks,
    ...(machine.device === 'cuda' && {
      device: 'cuda' as const,
      threads: Math.min(threads, pretrain.threads),
    }),
  };
  return {
    ...recipe,
    pretrain: parted,
    estimate: { ...estimate, usd: Number((estimate.usd * hosts).toFixed(2)) },
    reasons: [
      ...recipe.reasons.map((reason) =>
        reason.choice === 'parallelism' ? parallelismReason(parted) : reason,
      ),
      ...(hosts === 1 ? [] : [hostsReason(hosts, batchSize)]),
    ],
  };
}

function hostsReason(hosts: number, batchSize: number): Reason {
  return {
    choice: 'hosts',
    value: `${hosts}`,
    reason:
      `each trains on ${batchSize / hosts} of the ${batchSize} rows of a batch; steps and time are planned as for one ` +
      'host, since what the network costs is not known before it is measured',
    source: 'Li et al. 2020, PyTorch Distributed',
  };
}
