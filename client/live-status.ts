/**
 * The status of a run as a watcher wants it: what the workflow says, joined with what the running
 * activities last said of themselves, which lives outside of history.
 */
import {
  isGrpcServiceError,
  WorkflowFailedError,
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import { defaultPayloadConverter, WorkflowNotFoundError } from '@temporalio/common';
import {
  runStatusQuery,
  workflowId,
  type PipelineResult,
  type RunStatus,
  type StageName,
  type TrainingProgress,
} from '../workflows/messages.ts';
import { isPassing } from './connection-faults.ts';
import { rootMessage } from './errors.ts';

export interface ActivityProgress {
  workflowId: string;
  activity: string;
  attempt: number;
  /** Last heartbeat of the attempt; null before the first. */
  heartbeat: unknown;
  heartbeatAt: number | null;
  lastFailure: string | null;
  /** True while no worker has taken it. */
  waiting: boolean;
}

export interface LiveStatus extends RunStatus {
  startedAt: number;
  endedAt: number | null;
  activities: ActivityProgress[];
  /** Heartbeat of the trainer, when one is running. */
  training: TrainingProgress | null;
  /** Events in the histories of the run and of its running children: grows whenever anything moves. */
  numEvents: number;
  /** Why the stages shown may be old (the control worker or Temporal does not answer); null when fresh. */
  stale: string | null;
}

/** Stage that a phase of training belongs to. */
export const stageOfPhase: Record<string, StageName> = {
  pretrain: 'pretrain',
  sft: 'fine-tune',
  dpo: 'align',
  orpo: 'align',
};

const queryTimeoutMs = 4000;
/** PENDING_ACTIVITY_STATE_SCHEDULED of Temporal's API: no worker has it. */
const scheduledState = 1;

/** Reads the status once. `last` fills the gap while the control worker is away. */
export async function readLiveStatus(
  client: Client,
  run: string,
  last: LiveStatus | null = null,
): Promise<LiveStatus> {
  const handle = client.workflow.getHandle<() => Promise<PipelineResult>>(workflowId.pipeline(run));
  const description = await handle.describe();
  const children = await Promise.all(
    (description.raw.pendingChildren ?? []).map((child) => describeChild(client, child.workflowId)),
  );
  const descriptions = [description, ...children.filter((child) => child !== null)];
  const activities = descriptions.flatMap(pendingActivities);
  const training = activities.map((activity) => activity.heartbeat).find(isTraining) ?? null;

  let status: RunStatus = last ?? { ...nothingKnown, run };
  let stale: string | null = null;
  try {
    status = await client.connection.withDeadline(Date.now() + queryTimeoutMs, () =>
      handle.query(runStatusQuery),
    );
  } catch (error) {
    if (!isPassing(error) && !isNoPoller(error)) throw error;
    stale = 'the control worker does not answer';
  }
  const { name } = description.status;
  if (name !== 'RUNNING' && name !== 'CONTINUED_AS_NEW') status = await withEnd(handle, status);
  return {
    ...status,
    state: description.status.name === 'RUNNING' ? status.state : closedState(description, status),
    startedAt: description.startTime.getTime(),
    endedAt: description.closeTime?.getTime() ?? null,
    activities,
    training,
    numEvents: descriptions.reduce((sum, one) => sum + one.historyLength, 0),
    stale,
  };
}

/** How a run ended stands in its history, which Temporal can read when no worker is there to be asked. */
async function withEnd(
  handle: WorkflowHandle<() => Promise<PipelineResult>>,
  status: RunStatus,
): Promise<RunStatus> {
  if (status.result !== null || status.failure !== null) return status;
  try {
    return { ...status, result: await handle.result() };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { ...status, failure: rootMessage(error) };
  }
}

const nothingKnown: Omit<RunStatus, 'run'> = {
  state: 'running',
  stages: [],
  notes: [],
  recipe: null,
  result: null,
  failure: null,
};

function closedState(
  description: WorkflowExecutionDescription,
  status: RunStatus,
): RunStatus['state'] {
  switch (description.status.name) {
    case 'COMPLETED':
      return status.state === 'running' ? 'finished' : status.state;
    case 'CANCELLED':
      return 'cancelled';
    case 'CONTINUED_AS_NEW':
      return status.state;
    default:
      return 'failed';
  }
}

async function describeChild(
  client: Client,
  id: string | null | undefined,
): Promise<WorkflowExecutionDescription | null> {
  try {
    return await client.workflow.getHandle(id ?? '').describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

function pendingActivities(description: WorkflowExecutionDescription): ActivityProgress[] {
  return (description.raw.pendingActivities ?? []).map((pending) => {
    const payload = pending.heartbeatDetails?.payloads?.[0];
    const beat = pending.lastHeartbeatTime;
    return {
      workflowId: description.workflowId,
      activity: pending.activityType?.name ?? '',
      attempt: pending.attempt ?? 1,
      heartbeat: payload ? readPayload(payload) : null,
      heartbeatAt: beat ? Number(beat.seconds) * 1000 + (beat.nanos ?? 0) / 1e6 : null,
      lastFailure: pending.lastFailure?.message ?? null,
      waiting: pending.state === scheduledState,
    };
  });
}

function readPayload(payload: Parameters<typeof defaultPayloadConverter.fromPayload>[0]): unknown {
  try {
    return defaultPayloadConverter.fromPayload(payload);
  } catch (error) {
    return { kind: 'unreadable', reason: rootMessage(error) };
  }
}

function isTraining(heartbeat: unknown): heartbeat is TrainingProgress {
  return (heartbeat as TrainingProgress | null)?.kind === 'training';
}

/** Nobody polls the queue, or the worker that held the workflow is gone: both pass with a new worker. */
function isNoPoller(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (isGrpcServiceError(current) && current.code === 9) return true;
  }
  return false;
}
