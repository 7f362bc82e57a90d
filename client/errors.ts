/** What can go wrong for a client, in three kinds, because each asks something else of the caller. */

export type ClientErrorKind = 'input' | 'unreachable' | 'failed';

/** One clear sentence with what to do; `kind` says whose turn it is. */
export class ClientError extends Error {
  readonly kind: ClientErrorKind;
  constructor(kind: ClientErrorKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'ClientError';
    this.kind = kind;
  }
}

/** The deepest message of a chain of causes, which is the one that says what happened. */
export function rootMessage(error: unknown): string {
  let message = error instanceof Error ? error.message : String(error);
  let current = error;
  while (current instanceof Error && current.cause !== undefined && current.cause !== null) {
    current = current.cause;
    if (current instanceof Error && current.message !== '') message = current.message;
  }
  return message;
}
