/** The step queue: active jobs take turns, one forward pass each; the rest wait in order of arrival. */
import type { EngineStats } from './protocol.ts';

export interface StepQueue {
  /** `work` yields after each step; `done` hears its value or its error, and nothing after a cancel. */
  add<Value>(
    id: number,
    work: AsyncGenerator<void, Value, void>,
    done: (outcome: { value: Value } | { error: unknown }) => void,
  ): void;
  cancel(id: number): void;
  stats(): EngineStats;
}

interface Entry {
  id: number;
  cancelled: boolean;
  /** True when the work has ended. */
  step: () => Promise<boolean>;
}

/** At most `maxActive` jobs hold a cache at a time. */
export function openStepQueue(maxActive: number): StepQueue {
  const waiting: Entry[] = [];
  let active: Entry[] = [];
  let running = false;
  let steps = 0;
  let cancelled = 0;

  async function run(): Promise<void> {
    running = true;
    while (active.length + waiting.length > 0) {
      while (active.length < maxActive && waiting.length > 0) active.push(waiting.shift()!);
      for (const entry of active) {
        if (entry.cancelled) continue;
        steps += 1;
        if (await entry.step()) entry.cancelled = true;
        // Gives messages a chance to be read even when a step had nothing to wait for.
        await new Promise((resolve) => setImmediate(resolve));
      }
      active = active.filter((entry) => !entry.cancelled);
    }
    running = false;
  }

  return {
    add(id, work, done) {
      const step = async (): Promise<boolean> => {
        try {
          const next = await work.next();
          if (next.done && !entry.cancelled) done({ value: next.value });
          return next.done === true;
        } catch (error) {
          if (!entry.cancelled) done({ error });
          return true;
        }
      };
      const entry: Entry = { id, cancelled: false, step };
      waiting.push(entry);
      if (!running) void run();
    },
    cancel(id) {
      const place = waiting.findIndex((entry) => entry.id === id);
      const entry = place >= 0 ? waiting.splice(place, 1)[0] : active.find((one) => one.id === id);
      if (entry === undefined || entry.cancelled) return;
      entry.cancelled = true;
      cancelled += 1;
    },
    stats: () => ({
      active: active.filter((entry) => !entry.cancelled).length,
      waiting: waiting.length,
      steps,
      cancelled,
    }),
  };
}
