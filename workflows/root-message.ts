/** Why something failed, from a chain of causes that Temporal wraps at each border. */
import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure } from '@temporalio/workflow';
import type { FailureType } from '../config/failures.ts';

/**
 * Every cause down to the deepest that says something new, outermost first: `the store did not answer:
 * connection refused`. What Temporal says of its own wrappers is left out where they wrap a sentence.
 */
export function rootMessage(failure: unknown): string {
  const said: string[] = [];
  let current: unknown = failure;
  for (;;) {
    const cause: unknown = current instanceof Error ? current.cause : undefined;
    const wraps = cause !== undefined && cause !== null;
    const wrapper = current instanceof ActivityFailure || current instanceof ChildWorkflowFailure;
    const message = (current instanceof Error ? current.message : String(current)).trim();
    const known = message === '' || said.some((earlier) => earlier.includes(message));
    if (!known && !(wrapper && wraps)) said.push(message);
    if (!wraps) break;
    current = cause;
  }
  return said.join(': ') || String(failure);
}

/** Whether something failed for that reason, however deep it is wrapped. */
export function isOfType(failure: unknown, type: FailureType): boolean {
  for (let at = failure; at instanceof Error; at = at.cause) {
    if (at instanceof ApplicationFailure && at.type === type) return true;
  }
  return false;
}
