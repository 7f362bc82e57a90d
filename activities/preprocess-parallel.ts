/** Several requests to the store at a time, or pieces of work ahead of whoever asks for them: each waits longer for its answer than it works. */

const inFlight = 16;

/** The results of the work on each item, in the order of the items. Once one has failed, no other is begun. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<Result>,
  limit = inFlight,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  let hasFailed = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !hasFailed) {
      const index = next;
      next += 1;
      try {
        results[index] = await work(items[index]!, index);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return results;
}

/** Work that is begun before what was begun earlier has ended, so much of it at a time; the results come in the order of beginning. */
export class Ahead<Result> {
  readonly #limit: number;
  readonly #begun: Promise<Result>[] = [];
  readonly #running = new Set<Promise<unknown>>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Begins when there is room. Throws what any of the work that was begun has failed with. */
  async begin(work: () => Promise<Result>): Promise<void> {
    while (this.#running.size >= this.#limit) await Promise.race(this.#running);
    const begun = work();
    this.#begun.push(begun);
    const running = begun.then(() => {
      this.#running.delete(running);
    });
    // Whoever begins or asks for the results hears of it; till then nobody listens.
    running.catch(() => {});
    this.#running.add(running);
  }

  /** All results; none may be begun after. */
  async results(): Promise<Result[]> {
    return Promise.all(this.#begun);
  }

  /** Waits until nothing of it goes on, however it ends. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#begun);
  }
}
