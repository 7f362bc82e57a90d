/** Statuses for tests, as a control worker would give them. */
import type { LiveStatus } from '../../client/live-status.ts';
import type { TrainingProgress } from '../../config/trainer.ts';
import { stageNames, type StageName, type StageStatus } from '../../workflows/messages.ts';

export const start = Date.UTC(2026, 0, 1);

/** A run at the given stage: those before are done, each after ten seconds. */
export function statusAt(stage: StageName, change: Partial<LiveStatus> = {}): LiveStatus {
  const active = stageNames.indexOf(stage);
  const stages = stageNames.map((name, index): StageStatus => {
    const startedAt = start + index * 10_000;
    if (index < active) {
      const summary = `${name} is done`;
      return { name, state: 'done', startedAt, endedAt: startedAt + 10_000, summary };
    }
    if (index === active) return { name, state: 'running', startedAt, endedAt: null, summary: '' };
    return { name, state: 'waiting', startedAt: null, endedAt: null, summary: '' };
  });
  return {
    run: 'policy-7f3a',
    state: 'running',
    stages,
    notes: [],
    recipe: null,
    result: null,
    failure: null,
    startedAt: start,
    endedAt: null,
    activities: [],
    training: null,
    numEvents: 10,
    stale: null,
    ...change,
  };
}

export function trainingAt(step: number, change: Partial<TrainingProgress> = {}): TrainingProgress {
  return {
    kind: 'training',
    phase: 'pretrain',
    step,
    numSteps: 2000,
    loss: 4.5,
    tokensPerSecond: 12_345,
    durableStep: Math.floor(step / 200) * 200,
    resumedFrom: null,
    adopted: false,
    ...change,
  };
}
