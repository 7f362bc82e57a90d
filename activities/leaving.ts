/**
 * A host that was told to leave, with its disk: trainings on it are handed over to another. That is told apart from a
 * worker that is only restarted, which lets its trainers go on and is followed by one that adopts them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/activity';
import { PassingFailure } from '../config/failures.ts';

export interface LeavingNotice {
  /** For people: who said so. */
  why: string;
  /** Until then what is to be kept must be in the store. */
  deadline: Date;
}

/** Whoever waits for the next part of a training: its workflow decides in between. */
const lingerMs = 5000;
const everyMs = 200;
/** So long before the host is gone no more is awaited: what became of its training must still be told. */
const lastMs = 3000;

/** What the activities of a host know of its leaving. */
export class Leaving {
  #notice: LeavingNotice | null = null;
  #numWorking = 0;
  #idleSince = -Infinity;
  readonly #told = new AbortController();

  get notice(): LeavingNotice | null {
    return this.#notice;
  }

  /** Aborted when the host is told to leave. */
  get signal(): AbortSignal {
    return this.#told.signal;
  }

  /** The first notice counts, and of later ones an earlier deadline. */
  tell(notice: LeavingNotice): void {
    const { why, deadline } = this.#notice ?? notice;
    this.#notice = { why, deadline: notice.deadline < deadline ? notice.deadline : deadline };
    this.#told.abort();
  }

  /** Does work that the host has to hand over before it goes. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#numWorking += 1;
    try {
      return await work();
    } finally {
      this.#numWorking -= 1;
      this.#idleSince = performance.now();
    }
  }

  /** Resolves when there is nothing more to hand over, or the time for it is over. */
  async settled(now: () => Date): Promise<void> {
    const isIdle = () => this.#numWorking === 0 && performance.now() - this.#idleSince >= lingerMs;
    while (!isIdle() && now() < (this.#notice?.deadline ?? now())) await sleep(everyMs);
  }
}

/** The passing failure after which another host goes on. */
export function hostLeaving(host: string, message: string): ApplicationFailure {
  const type = PassingFailure.HostLeaving;
  return ApplicationFailure.create({ message, type, details: [{ host }] });
}

/** `host h1 was told to leave (…)`: the beginning of what is said of it. */
export function toldToLeave(host: string, { why }: LeavingNotice): string {
  return `host ${host} was told to leave (${why})`;
}

/** How long what is to be kept may still take; infinite where the host stays. */
export function timeLeftMs({ leaving, now }: { leaving?: Leaving; now: () => Date }): number {
  const deadline = leaving?.notice?.deadline;
  if (deadline === undefined) return Infinity;
  return Math.max(0, deadline.getTime() - now().getTime() - lastMs);
}

/** What the work gives, or null where the host's time is over before; a later notice may bring that nearer. */
export async function inTimeLeft<Result>(
  deps: { leaving?: Leaving; now: () => Date },
  work: Promise<Result>,
): Promise<{ result: Result } | null> {
  const done = new AbortController();
  const { signal } = done;
  const timeOver = async () => {
    while (!signal.aborted && timeLeftMs(deps) > 0)
      await sleep(everyMs, undefined, { signal, ref: false }).catch(() => undefined);
    return null;
  };
  try {
    return await Promise.race([work.then((result) => ({ result })), timeOver()]);
  } finally {
    done.abort();
  }
}

/** Throws where the host leaves: nothing is begun on it any more. */
export function refuseIfLeaving({ host, leaving }: { host: string; leaving?: Leaving }): void {
  if (leaving?.notice == null) return;
  throw hostLeaving(host, `${toldToLeave(host, leaving.notice)}; nothing is begun on it`);
}

/** What became of a training at this step when its host left. */
export function handedOver(
  host: string,
  notice: LeavingNotice,
  { step, durableStep }: { step: number; durableStep: number },
): ApplicationFailure {
  const told = `${toldToLeave(host, notice)} at step ${step}`;
  const lost = step - durableStep;
  return hostLeaving(
    host,
    lost <= 0
      ? `${told}; handed over at checkpoint ${durableStep}, 0 steps lost`
      : `${told}; no later checkpoint was stored in time than that of step ${durableStep}, ${lost} steps lost`,
  );
}
