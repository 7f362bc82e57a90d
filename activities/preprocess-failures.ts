/** Errors of the corpus and the registry that no retry cures, as failures that Temporal does not retry. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { z } from 'zod';
import { FailureType } from '../config/failures.ts';

/** Runs the work of an activity; an error named after one of our failure types becomes that failure. */
export async function withFailures<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof ApplicationFailure) throw error;
    if (!(error.name in FailureType)) throw error;
    throw ApplicationFailure.create({
      message: error.message,
      type: error.name,
      nonRetryable: true,
      cause: error,
    });
  }
}

/** Tells Temporal how far the work is, and ends it where a cancellation asks for that. */
export async function progress(kind: string, done: number, total: number): Promise<void> {
  const context = Context.current();
  context.heartbeat({ kind, done, total });
  if (context.cancellationSignal.aborted) await context.cancelled;
}

/** Tells Temporal how far a thread is, also while its work waits for its turn. */
export function beatsOf(kind: string): (done: number, total: number) => void {
  const context = Context.current();
  return (done, total) => {
    context.heartbeat({ kind, done, total });
  };
}

/** Parses what an activity was given; a wrong argument stays wrong however often it is tried. */
export function parseInput<T>(schema: z.ZodType<T>, given: unknown): T {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  throw ApplicationFailure.nonRetryable(
    `wrong argument of an activity: ${z.prettifyError(parsed.error)}`,
    FailureType.InvalidConfig,
  );
}
