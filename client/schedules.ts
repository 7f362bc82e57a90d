/**
 * Schedules: continued pretraining by the clock. A schedule holds the resolved pipeline and the folder its
 * sources start from; the sources themselves are read anew at each start.
 */
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  WorkflowFailedError,
  WorkflowNotFoundError,
  type Client,
  type ScheduleDescription,
  type ScheduleExecutionResult,
  type ScheduleHandle,
} from '@temporalio/client';
import { datasetNameOf } from '../config/pipeline-data.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { TaskQueue } from '../config/queues.ts';
import type { Machine } from '../config/recipe.ts';
import {
  runOfStart,
  workflowId,
  type ContinuousInput,
  type ContinuousResult,
} from '../workflows/messages.ts';
import { datasetAttribute, modelAttribute } from '../workflows/search-attributes.ts';
import { readCron } from './cron.ts';
import { ClientError, rootMessage } from './errors.ts';
import { nearest } from './nearest.ts';
import { requireSmall } from './payload.ts';
import { readPipelineFile } from './pipeline-file.ts';

export interface ScheduleRequest {
  /** Path of a pipeline file, or a parsed pipeline with the folder its source paths start from. */
  pipeline: string | { pipeline: Pipeline; baseDir: string };
  machine: Machine;
  /** Five fields: minute, hour, day of the month, month, day of the week. */
  cron: string;
  /** IANA name; left out, that of this machine. */
  timezone?: string | undefined;
  /** Left out, the name of the pipeline. */
  name?: string | undefined;
}

export interface Schedule {
  name: string;
  model: string;
  cron: string;
  /** The cron expression in words. */
  when: string;
  timezone: string;
  paused: boolean;
  /** Why it is paused, or what was said when it went on; empty when nothing was. */
  note: string;
  /** Milliseconds since the epoch, soonest first; those of a paused one are when it would start. */
  next: number[];
}

export interface ScheduledStart {
  run: string;
  workflowId: string;
  at: number;
  /** gone: Temporal has forgotten it. */
  state: 'running' | 'finished' | 'failed' | 'gone';
  result: ContinuousResult | null;
  failure: string | null;
}

export interface ScheduleDetails extends Schedule {
  /** How late a start that was missed is made up for. */
  catchUpMs: number;
  started: number;
  /** Starts that fell into a run that was still at work. */
  skipped: number;
  /** Starts that were missed for longer than is made up for. */
  missed: number;
  /** Newest first. */
  starts: ScheduledStart[];
}

export interface Schedules {
  createSchedule(request: ScheduleRequest): Promise<ScheduleDetails>;
  /** By name. */
  listSchedules(): Promise<Schedule[]>;
  showSchedule(name: string): Promise<ScheduleDetails>;
  pauseSchedule(name: string, note: string): Promise<void>;
  unpauseSchedule(name: string, note: string): Promise<void>;
  /** Starts now; throws while the start before is still at work. */
  triggerSchedule(name: string): Promise<ScheduledStart>;
  /** What it has started goes on. */
  deleteSchedule(name: string): Promise<void>;
}

const prefix = workflowId.continuous('');
const numTimes = 5;
const numStarts = 5;

/** The schedules part of the client; `reach` words what a service that is down throws. */
export function openSchedules(
  client: Client,
  reach: <T>(work: () => Promise<T>) => Promise<T>,
): Schedules {
  /** Asks one schedule; an unknown one is answered with the nearest name. */
  const at = <T>(name: string, ask: (handle: ScheduleHandle) => Promise<T>): Promise<T> =>
    reach(async () => {
      try {
        return await ask(client.schedule.getHandle(workflowId.continuous(name)));
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
        const near = nearest(name, await namesOf(client));
        const hint =
          near === null ? 'npx temper schedule list shows them.' : `Did you mean ${near}?`;
        throw new ClientError('input', `schedule: found no "${name}". ${hint}`, error);
      }
    });

  return {
    createSchedule: (request) => reach(() => createSchedule(client, request)),

    listSchedules: () =>
      reach(async () => {
        const names = (await namesOf(client)).toSorted();
        const found = await Promise.all(names.map((name) => describeListed(client, name)));
        return found.filter((schedule) => schedule !== null);
      }),

    showSchedule: (name) => at(name, async (handle) => detailsOf(client, await handle.describe())),

    pauseSchedule: (name, note) =>
      at(name, async (handle) => {
        const { state } = await handle.describe();
        if (state.paused) {
          const why = state.note === undefined || state.note === '' ? '' : ` (${state.note})`;
          throw new ClientError('input', `schedule ${name} is paused already${why}.`);
        }
        await handle.pause(note);
      }),

    unpauseSchedule: (name, note) =>
      at(name, async (handle) => {
        const { state } = await handle.describe();
        if (!state.paused) throw new ClientError('input', `schedule ${name} is not paused.`);
        await handle.unpause(note);
      }),

    triggerSchedule: (name) => at(name, (handle) => triggerSchedule(client, name, handle)),

    deleteSchedule: (name) => at(name, (handle) => handle.delete()),
  };
}

/** A schedule exists for documents that are new, which only pretraining reads. */
function refuseUnread({ goal, phases, data }: Pipeline): void {
  if (data.dataset?.includes('@') === true) {
    throw new ClientError(
      'input',
      `data.dataset: found ${data.dataset}, expected ${data.dataset.split('@')[0]}: one version never has anything new, and a schedule goes on from the champion when there are new documents. Nothing was started.`,
    );
  }
  if (goal === 'embeddings') {
    throw new ClientError(
      'input',
      'goal: found embeddings, expected base, adapt or assistant: a schedule goes on from the champion, and a model that embeds starts from scratch each time (npx temper run). Nothing was started.',
    );
  }
  if (phases === undefined || phases.includes('pretrain')) return;
  throw new ClientError(
    'input',
    `phases: found [${phases.join(', ')}], expected pretrain first: a schedule goes on from the champion when there are new documents. Nothing was started.`,
  );
}

async function createSchedule(
  client: Client,
  { pipeline: given, machine, ...request }: ScheduleRequest,
): Promise<ScheduleDetails> {
  const cron = readCron(request.cron);
  const timezone = readTimezone(request.timezone);
  const { pipeline, baseDir } = typeof given === 'string' ? await readPipelineFile(given) : given;
  const name = request.name ?? pipeline.name;
  if (!/^[a-z][a-z0-9-]{1,38}[a-z0-9]$/.test(name)) {
    throw new ClientError(
      'input',
      `schedule: found ${JSON.stringify(name)}, expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter. Nothing was started.`,
    );
  }
  refuseUnread(pipeline);
  await refuseSecond(client, pipeline.name, name);
  const input: ContinuousInput = { pipeline, baseDir, machine };
  requireSmall(pipeline.name, input);
  const scheduleId = workflowId.continuous(name);
  try {
    const handle = await client.schedule.create({
      scheduleId,
      spec: { cronExpressions: [cron.text], timezone },
      policies: {
        overlap: ScheduleOverlapPolicy.SKIP,
        catchupWindow: cron.periodMs,
        pauseOnFailure: true,
      },
      action: {
        type: 'startWorkflow',
        workflowId: scheduleId,
        workflowType: 'continuousPretrainingWorkflow',
        taskQueue: TaskQueue.control,
        args: [input],
        typedSearchAttributes: [
          { key: modelAttribute, value: pipeline.name },
          { key: datasetAttribute, value: datasetNameOf(pipeline) },
        ],
      },
      memo: { cron: cron.text, timezone, model: pipeline.name },
    });
    return await detailsOf(client, await handle.describe());
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    throw new ClientError(
      'input',
      `schedule: "${name}" exists. Look at it: npx temper schedule show ${name}. Delete it first, or choose another name with --name. Nothing was changed.`,
      error,
    );
  }
}

/** Two schedules of one model would both go on from its champion, and only one of them could be promoted. */
async function refuseSecond(client: Client, model: string, name: string): Promise<void> {
  for await (const { scheduleId, memo } of client.schedule.list()) {
    const first = scheduleId.slice(prefix.length);
    // That the name itself is taken, Temporal says at once.
    if (!scheduleId.startsWith(prefix) || first === name || memo?.['model'] !== model) continue;
    throw new ClientError(
      'input',
      `schedule: model ${model} has one already, "${first}", expected one a model. Look at it: npx temper schedule show ${first}. ` +
        `To replace it: npx temper schedule delete ${first}. Nothing was changed.`,
    );
  }
}

/** Temporal would refuse an unknown zone too, but not say which one was meant. */
function readTimezone(given: string | undefined): string {
  const own = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zone = given ?? own;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    const near = nearest(zone, Intl.supportedValuesOf('timeZone'));
    const hint = near === null ? '' : ` Did you mean ${near}?`;
    throw new ClientError(
      'input',
      `timezone: found ${JSON.stringify(zone)}, expected a name such as UTC, Asia/Taipei or Europe/Paris.${hint} Nothing was started.`,
    );
  }
}

async function namesOf(client: Client): Promise<string[]> {
  const names: string[] = [];
  for await (const { scheduleId } of client.schedule.list()) {
    if (scheduleId.startsWith(prefix)) names.push(scheduleId.slice(prefix.length));
  }
  return names;
}

/** The list lags behind: a schedule in it may be gone. */
async function describeListed(client: Client, name: string): Promise<Schedule | null> {
  try {
    return summaryOf(await client.schedule.getHandle(workflowId.continuous(name)).describe());
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

function summaryOf({ scheduleId, memo, state, info }: ScheduleDescription): Schedule {
  const { cron, timezone, model } = memo as { cron: string; timezone: string; model: string };
  return {
    name: scheduleId.slice(prefix.length),
    model,
    cron,
    when: readCron(cron).words,
    timezone,
    paused: state.paused,
    note: state.note ?? '',
    next: info.nextActionTimes.slice(0, numTimes).map((time) => time.getTime()),
  };
}

async function detailsOf(
  client: Client,
  description: ScheduleDescription,
): Promise<ScheduleDetails> {
  const { info, policies } = description;
  const newest = info.recentActions.toReversed().slice(0, numStarts);
  return {
    ...summaryOf(description),
    catchUpMs: policies.catchupWindow,
    started: info.numActionsTaken,
    skipped: info.numActionsSkippedOverlap,
    missed: info.numActionsMissedCatchupWindow,
    starts: await Promise.all(newest.map((start) => describeStart(client, start))),
  };
}

async function describeStart(
  client: Client,
  { takenAt, action }: ScheduleExecutionResult,
): Promise<ScheduledStart> {
  const { workflowId: id, firstExecutionRunId } = action.workflow;
  const start = { run: runOfStart(id, takenAt), workflowId: id, at: takenAt.getTime() };
  const handle = client.workflow.getHandle<() => Promise<ContinuousResult>>(
    id,
    firstExecutionRunId,
  );
  try {
    const { status } = await handle.describe();
    if (status.name === 'RUNNING') {
      return { ...start, state: 'running', result: null, failure: null };
    }
    return { ...start, state: 'finished', result: await handle.result(), failure: null };
  } catch (error) {
    if (error instanceof WorkflowFailedError) {
      return { ...start, state: 'failed', result: null, failure: rootMessage(error) };
    }
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    return { ...start, state: 'gone', result: null, failure: null };
  }
}

async function triggerSchedule(
  client: Client,
  name: string,
  handle: ScheduleHandle,
): Promise<ScheduledStart> {
  const before = await handle.describe();
  const [running] = before.info.runningActions;
  if (running !== undefined) {
    throw new ClientError(
      'input',
      `schedule ${name}: ${running.workflow.workflowId} is still at work, and two never run at once. Nothing was started.`,
    );
  }
  await handle.trigger(ScheduleOverlapPolicy.SKIP);
  const deadline = Date.now() + 10_000;
  for (;;) {
    const { info } = await handle.describe();
    const newest = info.recentActions.at(-1);
    if (newest !== undefined && info.numActionsTaken > before.info.numActionsTaken) {
      return await describeStart(client, newest);
    }
    if (Date.now() > deadline) {
      throw new ClientError(
        'failed',
        `schedule ${name}: Temporal took the trigger and started nothing within 10 s. npx temper schedule show ${name} says what it did.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
