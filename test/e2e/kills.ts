/** Kills parts of a running stack one after another, each at a moment that the run's own status names. */
import type { LiveStatus } from '../../client/live-status.ts';
import { killVictim, listVictims, type Victim } from '../../infra/kill.ts';
import { isAlive, signalProcess, type ProcessIdentity } from '../../infra/processes.ts';
import type { StageName } from '../../workflows/messages.ts';

export interface PlannedKill {
  kind: Victim['kind'];
  /** Due when the run stands so. */
  when: (status: LiveStatus) => boolean;
  /**
   * The trainer stands still until this holds: a few seconds of training stand for the hours in which a
   * worker dies and another comes.
   */
  holdTrainerUntil?: (status: LiveStatus) => boolean;
}

export interface Killed extends Victim {
  stage: StageName | undefined;
  /** Ranks that trained at that moment. */
  ranks: ProcessIdentity[];
}

/** Pass `see` every status. One kill at a time, in their order. */
export function createKills(home: string, planned: readonly PlannedKill[]) {
  const remaining = [...planned];
  const killed: Killed[] = [];
  let held: { ranks: ProcessIdentity[]; until: (status: LiveStatus) => boolean } | null = null;
  return {
    killed,
    async see(status: LiveStatus): Promise<void> {
      if (held !== null && status.stale === null && held.until(status)) {
        for (const rank of held.ranks) signalProcess(rank, 'SIGCONT');
        held = null;
      }
      const due = remaining[0];
      if (due === undefined || held !== null || status.state !== 'running') return;
      const last = killed.at(-1);
      if (last !== undefined && isAlive(last)) return;
      if (status.stale !== null || !due.when(status)) return;
      const victims = await listVictims(home);
      const victim = victims.find(({ kind }) => kind === due.kind);
      if (victim === undefined) return;
      const ranks = victims.filter(({ kind }) => kind === 'rank');
      if (due.holdTrainerUntil !== undefined) {
        for (const rank of ranks) signalProcess(rank, 'SIGSTOP');
        held = { ranks, until: due.holdTrainerUntil };
      }
      if (!killVictim(victim)) return;
      remaining.shift();
      killed.push({ ...victim, stage: runningStage(status), ranks });
    },
  };
}

export function runningStage(status: LiveStatus): StageName | undefined {
  return status.stages.find(({ state }) => state === 'running')?.name;
}
