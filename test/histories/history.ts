/** Histories as files: each is kept for a reason that its name says, and replayed by every later version of the workflows. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

/** Reads one execution's history, in the JSON form of Temporal's own tools. */
export async function fetchHistory(
  temporal: Client,
  workflowId: string,
): Promise<{ json: HistoryJson; bytes: number }> {
  const handle = temporal.workflow.getHandle(workflowId);
  const json = JSON.parse(historyToJSON(await handle.fetchHistory())) as HistoryJson;
  const { historySize } = await handle.describe();
  if (historySize === undefined) throw new Error(`${workflowId}: Temporal named no history size`);
  return { json, bytes: historySize };
}

export interface HistoryJson {
  events: Record<string, unknown>[];
}

/** Bytes of the largest payload in a history. */
export function largestPayload(value: unknown): number {
  if (value === null || typeof value !== 'object') return 0;
  const { data, metadata } = value as { data?: unknown; metadata?: unknown };
  if (typeof data === 'string' && metadata !== undefined) return Buffer.byteLength(data, 'base64');
  return Math.max(0, ...Object.values(value).map(largestPayload));
}

/** Every kept history: name of the file without `.json`, and its content. */
export function keptHistories(): { name: string; json: HistoryJson }[] {
  return readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.json'))
    .toSorted()
    .map((file) => ({
      name: path.basename(file, '.json'),
      json: JSON.parse(readFileSync(path.join(import.meta.dirname, file), 'utf8')) as HistoryJson,
    }));
}
