/**
 * What goes wrong in the serving room. Clients see `ServingError` only: an HTTP status with OpenAI's
 * error fields; the other two are between a node and its engines.
 */

export interface ErrorDetail {
  param?: string;
  code?: string;
  retryAfterS?: number;
}

export class ServingError extends Error {
  readonly status: number;
  readonly detail: ErrorDetail;

  constructor(status: number, message: string, detail: ErrorDetail = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ServingError';
    this.status = status;
    this.detail = detail;
  }
}

/** The bundle cannot be served: no retry cures it. */
export class UnservableError extends Error {
  /** Largest difference of a logit to PyTorch's; null when it did not come so far. */
  readonly difference: number | null;

  constructor(message: string, difference: number | null = null) {
    super(message);
    this.name = 'ModelNotServable';
    this.difference = difference;
  }
}

/** No memory, no file descriptors, a failing disk: says nothing about the bundle. */
export function isFaultOfMachine(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  const isOfSystem = typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) && code !== 'ENOENT';
  return isOfSystem || /bad_alloc|failed to allocate memory/i.test(message);
}

/** The engine process died, or was stopped, before it had answered. */
export class EngineLostError extends Error {
  override readonly name = 'EngineLost';
}

/** The request is at fault; `param` is the field. */
export function badRequest(message: string, param?: string, code?: string): ServingError {
  return new ServingError(400, message, {
    ...(param === undefined ? {} : { param }),
    ...(code === undefined ? {} : { code }),
  });
}

/** The engine is not there for the moment; the client may try again. */
export function unavailable(message: string, cause?: unknown): ServingError {
  return new ServingError(
    503,
    message,
    { code: 'engine_unavailable', retryAfterS: 1 },
    cause === undefined ? undefined : { cause },
  );
}

const types: Record<number, string> = {
  401: 'authentication_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
};

/** OpenAI's error shape. */
export function errorBody(error: ServingError): { error: Record<string, string | null> } {
  const type =
    types[error.status] ?? (error.status < 500 ? 'invalid_request_error' : 'server_error');
  return {
    error: {
      message: error.message,
      type,
      param: error.detail.param ?? null,
      code: error.detail.code ?? null,
    },
  };
}
