/** Reads workflow histories: how large they are, and when each activity ran. */
import type { Client } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { temporal } from '@temporalio/proto';
import type { ActivityRecord } from './accounting.ts';

type HistoryEvent = temporal.api.history.v1.IHistoryEvent;

export interface HistoryRecord {
  workflowId: string;
  events: number;
  /** By the server's own count, which its limit is about. */
  bytes: number;
  largestPayload: number;
  activities: ActivityRecord[];
  startedAt: number;
  endedAt: number;
}

/** The history of a workflow's latest execution; null when there is none of that id. */
export async function readHistory(
  client: Client,
  workflowId: string,
): Promise<HistoryRecord | null> {
  const handle = client.workflow.getHandle(workflowId);
  try {
    const description = await handle.describe();
    const { events } = await handle.fetchHistory();
    const known = events ?? [];
    return {
      workflowId,
      events: known.length,
      bytes: description.historySize ?? 0,
      largestPayload: largestPayload(known),
      activities: activityRecords(workflowId, known),
      startedAt: timeOf(known[0]?.eventTime),
      endedAt: timeOf(known.at(-1)?.eventTime),
    };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** When each activity was at work, from its last attempt's start to its end. */
export function activityRecords(
  workflowId: string,
  events: readonly HistoryEvent[],
): ActivityRecord[] {
  const names = new Map<number, string>();
  const starts = new Map<number, number>();
  const records: ActivityRecord[] = [];
  for (const event of events) {
    const id = Number(event.eventId);
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) names.set(id, scheduled.activityType?.name ?? '');
    const started = event.activityTaskStartedEventAttributes;
    if (started) starts.set(Number(started.scheduledEventId), timeOf(event.eventTime));
    const ended =
      event.activityTaskCompletedEventAttributes ??
      event.activityTaskFailedEventAttributes ??
      event.activityTaskTimedOutEventAttributes ??
      event.activityTaskCanceledEventAttributes;
    if (!ended) continue;
    const from = starts.get(Number(ended.scheduledEventId));
    const name = names.get(Number(ended.scheduledEventId)) ?? '';
    if (from !== undefined) records.push({ workflowId, name, from, to: timeOf(event.eventTime) });
  }
  return records;
}

/** Bytes of the largest payload anywhere in a value. */
export function largestPayload(value: unknown): number {
  if (value === null || typeof value !== 'object') return 0;
  if (value instanceof Uint8Array) return 0;
  const { data, metadata } = value as { data?: unknown; metadata?: unknown };
  if (data instanceof Uint8Array && metadata) return data.length;
  return Object.values(value).reduce<number>(
    (largest, item) => Math.max(largest, largestPayload(item)),
    0,
  );
}

function timeOf(time: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  return Number(time?.seconds ?? 0) * 1000 + (time?.nanos ?? 0) / 1e6;
}
