/** Kills parts of a running stack without warning, as power cuts and the kernel do: the chaos run's hand. */
import { layoutOf } from './layout.ts';
import { inspectProcess, type ProcessIdentity, signalProcess } from './processes.ts';
import { type PartName, partNames } from './programs.ts';
import { listSupervised } from './supervisor.ts';
import { findTrainers } from './trainers.ts';

export const victimKinds = [...partNames, 'torchrun', 'rank'] as const;

export interface Victim extends ProcessIdentity {
  kind: PartName | 'torchrun' | 'rank';
}

/** Every process that the chaos run may kill now: the servers, the workers, and the trainers with their launcher. */
export async function listVictims(home: string): Promise<Victim[]> {
  const layout = layoutOf(home);
  const supervised = (await listSupervised(layout)).flatMap((info): Victim[] => {
    const found = info.pid === 0 ? null : inspectProcess(info.pid);
    const kind = partNames.find((name) => name === info.name);
    if (found === null || kind === undefined) return [];
    return [{ kind, pid: found.pid, startTime: found.startTime }];
  });
  const { launchers, ranks } = findTrainers(layout);
  return [
    ...supervised,
    ...launchers.map((found): Victim => ({ kind: 'torchrun', ...found })),
    ...ranks.map((found): Victim => ({ kind: 'rank', ...found })),
  ];
}

/** SIGKILL to this very process; false when it was gone already. */
export function killVictim(victim: Victim): boolean {
  return signalProcess(victim, 'SIGKILL');
}
