/** One thing that a doctor looks at: what was found, what is expected, what to do; never without a time limit. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Check {
  name: string;
  ok: boolean;
  found: string;
  expected: string;
  /** What to do; empty when all is well. */
  remedy: string;
}

export interface Subject {
  name: string;
  expected: string;
  remedy: string;
  limitMs: number;
}

/** What a look gives: ok, what was found, and a remedy where there is a better one than the subject's. */
export interface Finding {
  ok: boolean;
  found: string;
  remedy?: string;
}

/** Looks, and takes an error or silence for an answer too. */
export async function look(
  subject: Subject,
  find: () => Promise<Finding> | Finding,
): Promise<Check> {
  const { name, expected, limitMs } = subject;
  const timer = new AbortController();
  const silence = async (): Promise<Finding> => {
    await sleep(limitMs, undefined, { signal: timer.signal });
    return { ok: false, found: `no answer within ${limitMs / 1000} s` };
  };
  let finding: Finding;
  try {
    finding = await Promise.race([Promise.resolve().then(find), silence()]);
  } catch (error) {
    finding = { ok: false, found: error instanceof Error ? error.message : String(error) };
  } finally {
    timer.abort();
  }
  const { ok, found, remedy = subject.remedy } = finding;
  return { name, ok, found, expected, remedy: ok ? '' : remedy };
}

/** The checks in their order, each as soon as it and those before it are known; all are looked at side by side. */
export async function* inOrder(checks: readonly Promise<Check | Check[]>[]): AsyncGenerator<Check> {
  for (const pending of checks) yield* [await pending].flat();
}
