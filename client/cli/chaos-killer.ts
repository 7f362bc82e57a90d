/** Kills the processes of a running stack by a schedule, and watches how the run comes back after each. */
import type { Victim } from '../../infra/kill.ts';
import type { StageName } from '../../workflows/messages.ts';
import { stageOfPhase, type LiveStatus } from '../live-status.ts';
import {
  chooseKill,
  isTrainer,
  progressAt,
  type KillKind,
  type Moment,
  type PlannedKill,
} from './chaos-schedule.ts';
import { clock, count } from './text.ts';

export interface Kill {
  kind: KillKind;
  pid: number;
  /** Milliseconds since the start of the run. */
  atMs: number;
  stage: StageName | null;
  step: number | null;
  /** Until the supervisor (or the run) had put another process there; null for what the run went on without. */
  backMs: number | null;
  /** Until the run moved again; null when it did not. */
  movedMs: number | null;
}

export interface Hand {
  listVictims(): Promise<Victim[]>;
  killVictim(victim: Victim): boolean;
}

export interface Killer {
  kills: Kill[];
  /** Called with every status that is seen; kills at most one process. */
  observe(status: LiveStatus, now: number): Promise<void>;
}

const recoveryLimitMs = 180_000;
/** A stage without steps counts as done to nine tenths after so long. */
const usualStageMs = 15_000;

interface OpenKill {
  kill: Kill;
  victim: Victim;
  at: number;
  marker: string;
}

/**
 * A killer that works through the planned kills, each after the recovery from the last. Only one that
 * belongs to a stage does not wait, because the stage would not.
 */
export function createKiller(
  planned: PlannedKill[],
  hand: Hand,
  tell: (line: string) => void,
): Killer {
  const remaining = [...planned];
  const kills: Kill[] = [];
  const furthest = new Map<string, number>();
  let lastTrainerKill: Moment['training'] = null;
  let open: OpenKill[] = [];

  /** Says what a kill has led to; false while that is not known. */
  const recovered = (
    { kill, victim, at, marker }: OpenKill,
    victims: Victim[],
    status: LiveStatus,
    now: number,
  ): boolean => {
    const replaced = victims.some(
      (other) =>
        other.kind === victim.kind &&
        (other.pid !== victim.pid || other.startTime !== victim.startTime),
    );
    if (replaced) kill.backMs ??= now - at;
    const free = kill.backMs !== null || isTrainer(kill.kind);
    const moved = status.stale === null && markerOf(status, kill.kind) !== marker;
    if (free && (moved || status.state !== 'running')) kill.movedMs = now - at;
    else if (now - at < recoveryLimitMs) return false;
    tell(`  ${recoveryLine(kill)}`);
    return true;
  };

  return {
    kills,
    async observe(status, now) {
      const victims = await hand.listVictims();
      open = open.filter((one) => !recovered(one, victims, status, now));
      if (status.state !== 'running' || status.stale !== null) return;
      const moment = momentOf(status, victims, furthest, now);
      const choice = chooseKill(remaining, moment, lastTrainerKill);
      if (choice === null || (open.length > 0 && choice.planned.stage === undefined)) return;
      const candidates = victims.filter((victim) => victim.kind === choice.kind);
      const victim = candidates[Math.floor(choice.planned.pick * candidates.length)];
      if (victim === undefined || !hand.killVictim(victim)) return;
      remaining.splice(remaining.indexOf(choice.planned), 1);
      if (isTrainer(choice.kind)) lastTrainerKill = moment.training;
      const stage = runningStage(status);
      const kill: Kill = {
        kind: choice.kind,
        pid: victim.pid,
        atMs: now - status.startedAt,
        stage,
        step: status.training?.step ?? null,
        backMs: null,
        movedMs: null,
      };
      kills.push(kill);
      open.push({ kill, victim, at: now, marker: markerOf(status, kill.kind) });
      tell(`⚡ ${kills.length}/${planned.length} SIGKILL ${killLine(kill, status)}`);
    },
  };
}

function killLine(kill: Kill, status: LiveStatus): string {
  const { training } = status;
  const step =
    training === null
      ? ''
      : `, step ${count(training.step)} of ${count(training.numSteps)} (durable ${count(training.durableStep)})`;
  return `${kill.kind} (pid ${kill.pid}) at ${clock(kill.atMs)}, in ${kill.stage ?? 'no stage'}${step}`;
}

function recoveryLine(kill: Kill): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  if (kill.movedMs === null) return `${kill.kind}: no recovery seen in ${seconds(recoveryLimitMs)}`;
  const back = kill.backMs === null ? 'not needed again' : `back after ${seconds(kill.backMs)}`;
  return `${kill.kind} ${back}; the run moved again after ${seconds(kill.movedMs)}`;
}

/** Changes whenever the run has moved; for a killed trainer, only when training itself has. */
function markerOf(status: LiveStatus, kind: KillKind): string {
  const stages = status.stages.map((stage) => stage.state).join();
  const step = status.training?.step ?? null;
  if (isTrainer(kind)) return JSON.stringify([stages, step]);
  const beats = status.activities.map((activity) => activity.heartbeatAt);
  return JSON.stringify([stages, step, status.numEvents, beats]);
}

function runningStage(status: LiveStatus): StageName | null {
  return status.stages.find((stage) => stage.state === 'running')?.name ?? null;
}

/** Progress never goes back, though a resumed trainer does. */
function momentOf(
  status: LiveStatus,
  victims: Victim[],
  furthest: Map<string, number>,
  now: number,
): Moment {
  const running = status.stages.find((stage) => stage.state === 'running');
  const { training } = status;
  let progress = furthest.get('run') ?? 0;
  if (running !== undefined) {
    const own = training !== null && stageOfPhase[training.phase] === running.name;
    const trains = Object.values(stageOfPhase).includes(running.name);
    const elapsed = now - (running.startedAt ?? now);
    const share = own
      ? training.step / Math.max(1, training.numSteps)
      : trains
        ? 0
        : Math.min(0.9, elapsed / usualStageMs);
    progress = Math.max(progress, progressAt(running.name, share));
    furthest.set('run', progress);
  }
  const toCome = status.stages.filter(
    ({ name, state }) =>
      Object.values(stageOfPhase).includes(name) && (state === 'running' || state === 'waiting'),
  );
  return {
    progress,
    stage: running?.name ?? null,
    training: training && { phase: training.phase, durableStep: training.durableStep },
    trainingOver: status.stages.length > 0 && toCome.length === 0,
    alive: new Set(victims.map((victim) => victim.kind)),
  };
}
