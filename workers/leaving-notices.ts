/**
 * Where a host learns that it is to leave: from a file that any cloud's hook can write, or from the instance metadata
 * service of EC2, which says so two minutes before a spot machine is taken.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Leaving, LeavingNotice } from '../activities/leaving.ts';

/** What was found; a notice may name no time. */
export interface Found {
  why: string;
  deadline?: Date;
}

export interface NoticeSource {
  /** For people: where it looks. */
  what: string;
  everyMs: number;
  /** Null while the host stays. */
  look: () => Promise<Found | null>;
}

const fileEveryMs = 1000;
const metadataEveryMs = 5000;
const answerMs = 2000;
const tokenTtlS = 21_600;
const longestWhy = 200;

/** The host leaves while there is such a file; its first line says why. */
export function fileNotice(file: string): NoticeSource {
  return {
    what: file,
    everyMs: fileEveryMs,
    look: async () => {
      try {
        const [line = ''] = (await readFile(file, 'utf8')).split('\n');
        return { why: line.trim().slice(0, longestWhy) || `${file} is there` };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
  };
}

/** Asks version 2 of EC2's instance metadata service: with a token, which it gives to nobody that forwards requests. */
export function metadataNotice(address: string): NoticeSource {
  let token: string | null = null;
  const ask = async (path: string, options: RequestInit) =>
    await fetch(new URL(path, address), {
      ...options,
      redirect: 'error',
      signal: AbortSignal.timeout(answerMs),
    });
  const freshToken = async () => {
    const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': String(tokenTtlS) };
    const answer = await ask('/latest/api/token', { method: 'PUT', headers });
    if (!answer.ok) throw new Error(`${address}: found ${answer.status}, expected a token`);
    return await answer.text();
  };
  /** What it says there; null: nothing. */
  const read = async (path: string): Promise<Record<string, unknown> | null> => {
    for (let attempt = 1; ; attempt += 1) {
      token ??= await freshToken();
      const headers = { 'x-aws-ec2-metadata-token': token };
      const answer = await ask(`/latest/meta-data/${path}`, { headers });
      if (answer.ok) return (await answer.json()) as Record<string, unknown>;
      await answer.body?.cancel();
      if (answer.status === 404) return null;
      token = null;
      if (answer.status !== 401 || attempt > 1) {
        throw new Error(`${address}, ${path}: found ${answer.status}, expected 200 or 404`);
      }
    }
  };
  return {
    what: address,
    everyMs: metadataEveryMs,
    look: async () => {
      const spot = await read('spot/instance-action');
      if (spot !== null) {
        const deadline = new Date(String(spot['time']));
        const why = `EC2 will ${String(spot['action'])} this spot machine`;
        return { why, ...(!Number.isNaN(deadline.getTime()) && { deadline }) };
      }
      const rebalance = await read('events/recommendations/rebalance');
      return rebalance && { why: 'EC2 recommends to rebalance' };
    },
  };
}

export interface Watching {
  leaving: Leaving;
  /** Of a notice that names no time. */
  leavingMs: number;
  now: () => Date;
  signal: AbortSignal;
  warn: (context: { error: unknown }, message: string) => void;
}

/** A notice of what was found. */
export function noticeOf(
  { why, deadline }: Found,
  { leavingMs, now }: Pick<Watching, 'leavingMs' | 'now'>,
): LeavingNotice {
  return { why, deadline: deadline ?? new Date(now().getTime() + leavingMs) };
}

/** What a source says; one that does not answer says nothing, and each new reason for that is told once. */
function lookAt(source: NoticeSource, warn: Watching['warn']): () => Promise<Found | null> {
  let reason = '';
  return async () => {
    try {
      const found = await source.look();
      reason = '';
      return found;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (why !== reason) warn({ error }, `whether this host leaves is not known: ${source.what}`);
      reason = why;
      return null;
    }
  };
}

/** Looks again and again, also where the host leaves already: another notice may name an earlier deadline. */
export function watchNotices(sources: readonly NoticeSource[], watching: Watching): void {
  for (const source of sources) void watchNotice(source, watching);
}

async function watchNotice(source: NoticeSource, watching: Watching): Promise<void> {
  const { leaving, signal, warn } = watching;
  const look = lookAt(source, warn);
  while (!signal.aborted) {
    const found = await look();
    if (found !== null) leaving.tell(noticeOf(found, watching));
    await sleep(source.everyMs, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** A worker that starts on a host which leaves takes no work until that is taken back. */
export async function untilItStays(
  sources: readonly NoticeSource[],
  { signal, warn }: Pick<Watching, 'signal' | 'warn'>,
): Promise<void> {
  for (const source of sources) {
    const look = lookAt(source, warn);
    let told = false;
    for (let found = await look(); found !== null; found = await look()) {
      const message = `this host leaves, and takes no work while ${source.what} says so`;
      if (!told) warn({ error: new Error(found.why) }, message);
      told = true;
      await sleep(source.everyMs, undefined, { signal });
    }
  }
}
