/**
 * Where the time of a run went: the work of its stages, the starting of interpreters, and the rest, which
 * is what durability costs. Strict: an activity that only looks up, leases or records is no work.
 */
import type { TrainerEvent } from '../../config/trainer.ts';
import { clip, lengthOf, subtract, union, type Interval } from './intervals.ts';

/** One execution of an activity, by a history; the time before it was picked up is not in it. */
export interface ActivityRecord extends Interval {
  workflowId: string;
  name: string;
}

/** Activities that are stage work for as long as they run; a training's work is told by the trainer's own events. */
const workActivities: ReadonlySet<string> = new Set([
  'ingestCorpus',
  'cleanShards',
  'resolveDuplicates',
  'splitCorpus',
  'trainTokenizer',
  'encodeShards',
  'measureCorpus',
  'finishCorpus',
  'planTraining',
  'exportOnnx',
  'evaluateModel',
  'awaitConvergence',
]);

/** The history of one training and what its trainer said. */
export interface TrainingRecord {
  activities: readonly ActivityRecord[];
  events: readonly TrainerEvent[];
}

/**
 * A trainer works from its start event, which follows the loading of libraries and data, to its last event.
 * It is starting from the moment that `prepareTrainer` has launched it.
 */
export function trainerTimes({ activities, events }: TrainingRecord): {
  work: Interval[];
  starting: Interval[];
} {
  const launches = activities.filter(({ name }) => name === 'prepareTrainer').map(({ to }) => to);
  const work: Interval[] = [];
  const starting: Interval[] = [];
  for (const [index, event] of events.entries()) {
    const at = event.at * 1000;
    if (event.event !== 'start') {
      if (work.length > 0) work.at(-1)!.to = Math.max(work.at(-1)!.to, at);
      continue;
    }
    const before = events[index - 1];
    const since = launches.filter((time) => time <= at && time >= (before?.at ?? 0) * 1000);
    if (since.length > 0) starting.push({ from: Math.max(...since), to: at });
    work.push({ from: at, to: at });
  }
  return { work, starting };
}

export interface Account {
  totalMs: number;
  workMs: number;
  /** Interpreters and their libraries, from launch to the first line of work. */
  startingMs: number;
  overheadMs: number;
  overheadShare: number;
  /** What the overhead consists of, largest first; `between activities` is Temporal's and the workers' part. */
  overhead: { what: string; ms: number }[];
}

/** Divides the time of a run. */
export function account(
  run: Interval,
  activities: readonly ActivityRecord[],
  trainings: readonly TrainingRecord[],
): Account {
  const trainers = trainings.map(trainerTimes);
  const work = union(
    clip(
      [
        ...activities.filter(({ name }) => workActivities.has(name)),
        ...trainers.flatMap((trainer) => trainer.work),
      ],
      run,
    ),
  );
  const starting = subtract(
    clip(
      trainers.flatMap((trainer) => trainer.starting),
      run,
    ),
    work,
  );
  const explained = [...work, ...starting];
  const rest = subtract([run], explained);
  const names = [...new Set(activities.map(({ name }) => name))].filter(
    (name) => !workActivities.has(name),
  );
  const overhead = names.map((what) => {
    const own = activities.filter(({ name }) => name === what);
    return { what, ms: lengthOf(subtract(clip(own, run), explained)) };
  });
  overhead.push({ what: 'between activities', ms: lengthOf(subtract(rest, activities)) });
  const totalMs = run.to - run.from;
  const overheadMs = lengthOf(rest);
  return {
    totalMs,
    workMs: lengthOf(work),
    startingMs: lengthOf(starting),
    overheadMs,
    overheadShare: totalMs === 0 ? 0 : overheadMs / totalMs,
    overhead: overhead.filter(({ ms }) => ms > 0).toSorted((a, b) => b.ms - a.ms),
  };
}
