/** Work on many items ahead of whoever uses what comes of it, which he does one after the other. */

/** Read ahead of the threads, so that they do not wait for the store, and few enough to hold. */
const ahead = 6;

/** Works on the items, a few at a time, and gives the results to `use` in the order of the items. */
export async function inTurn<Item, Result>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<Result>,
  use: (result: Result, index: number) => Promise<void>,
): Promise<void> {
  const begun: Promise<Result>[] = [];
  try {
    for (let at = 0; at < items.length; at += 1) {
      for (let next = at + begun.length; next < items.length && begun.length < ahead; next += 1) {
        const result = work(items[next]!, next);
        // It is awaited in its turn; till then nobody listens.
        result.catch(() => {});
        begun.push(result);
      }
      await use(await begun.shift()!, at);
    }
  } finally {
    // Nothing goes on behind the back of whoever asked.
    await Promise.allSettled(begun);
  }
}
