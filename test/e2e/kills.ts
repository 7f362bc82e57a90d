/** Kills parts of a running stack one after another, each at a moment that the run itself names. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { LiveStatus } from '../../client/live-status.ts';
import { killVictim, listVictims, type Victim } from '../../infra/kill.ts';
import { isAlive, signalProcess, type ProcessIdentity } from '../../infra/processes.ts';
import type { StageName } from '../../workflows/messages.ts';

type Moment = (status: LiveStatus) => boolean;

/**
 * A test trains for seconds only, on a fast machine fewer than a worker needs to come back. So the
 * trainer may be made to stand still (SIGSTOP), which it cannot tell from one long step.
 */
export interface PlannedKill {
  kind: Victim['kind'];
  when: Moment;
  /** The trainer stands still from this moment until the kill. */
  holdTrainerFrom?: Moment;
  /** The trainer stands still from the kill until this moment. */
  holdTrainerUntil?: Moment;
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
  let held: ProcessIdentity[] = [];
  let until: Moment | null = null;
  const hold = (ranks: ProcessIdentity[]): void => {
    held = ranks.filter((rank) => signalProcess(rank, 'SIGSTOP'));
  };
  return {
    killed,
    async see(status: LiveStatus): Promise<void> {
      if (status.stale !== null || status.state !== 'running') return;
      if (until !== null) {
        if (!until(status)) return;
        for (const rank of held.splice(0)) signalProcess(rank, 'SIGCONT');
        until = null;
      }
      const due = remaining[0];
      const last = killed.at(-1);
      if (due === undefined || (last !== undefined && isAlive(last))) return;
      const victims = await listVictims(home);
      const ranks = victims.filter(({ kind }) => kind === 'rank');
      if (held.length === 0 && due.holdTrainerFrom?.(status) === true) hold(ranks);
      const victim = victims.find(({ kind }) => kind === due.kind);
      if (victim === undefined || !due.when(status)) return;
      if (due.holdTrainerUntil !== undefined) {
        hold(ranks);
        until = due.holdTrainerUntil;
      }
      if (!killVictim(victim)) return;
      remaining.shift();
      killed.push({ ...victim, stage: runningStage(status), ranks });
      if (until === null) for (const rank of held.splice(0)) signalProcess(rank, 'SIGCONT');
    },
  };
}

export function runningStage(status: LiveStatus): StageName | undefined {
  return status.stages.find(({ state }) => state === 'running')?.name;
}

/** How far the trainer of a run's first pretraining is, by its own events: heartbeats come seconds later. */
export function trainerProgress(home: string, run: string): { step: number; checkpoint: number } {
  const progress = { step: 0, checkpoint: 0 };
  let text: string;
  try {
    text = readFileSync(path.join(home, 'runs', run, 'pretrain-0-0', 'events.jsonl'), 'utf8');
  } catch {
    return progress;
  }
  for (const line of text.split('\n').slice(0, -1)) {
    const { event, step } = JSON.parse(line) as { event: string; step: number };
    if (event === 'step') progress.step = step;
    if (event === 'checkpoint') progress.checkpoint = step;
  }
  return progress;
}
