/** Ctrl-C: a command says how things stand before it ends, and one that has to tidy up first gets to do so. */

/** Ends a command with exit code 130; the message says what goes on, what does not, and what to do. */
export class Interrupted extends Error {}

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Ctrl-C during `work` ends it here and now, with this sentence. */
export async function untilInterrupted<T>(sentence: string, work: () => Promise<T>): Promise<T> {
  const interrupted = Promise.withResolvers<never>();
  const interrupt = () => interrupted.reject(new Interrupted(sentence));
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await Promise.race([work(), interrupted.promise]);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

/** Ctrl-C during `work`, however often, only aborts the signal that it gets: it ends when it has tidied up. */
export async function holdingInterrupts<T>(
  onInterrupt: () => void,
  work: (interrupted: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  controller.signal.addEventListener('abort', onInterrupt);
  const interrupt = () => controller.abort();
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}
