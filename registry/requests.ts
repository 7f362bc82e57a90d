/**
 * Sends requests to S3 until they are answered or patience ends. The SDK's own retries are off: they hide
 * whether an earlier attempt may have been carried out, and a conditional write has to know.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { StoreRefused, StoreUnreachable } from './errors.ts';

/** How a failed attempt is to be taken. */
type Verdict = 'retry' | 'refused' | 'final';

/** What an attempt learns about those before it. */
export interface Attempt {
  /** An earlier attempt of this call may have been carried out although no reply came. */
  uncertain: boolean;
}

export interface Requests {
  send<T>(what: string, attempt: (context: Attempt) => Promise<T>): Promise<T>;
}

/** What a transfer needs of the store. */
export interface Connection {
  client: S3Client;
  requests: Requests;
  bucket: string;
}

/** Time for one request, from connection to answer. */
export const requestTimeoutMs = 30_000;
/** A connection slower than this counts as dead; lengthens the timeout of large bodies. */
const slowestBytesPerMs = 500;

/** Time that a request with a body of this size may take. */
export function timeoutFor(bytes: number): { requestTimeout: number } {
  return { requestTimeout: requestTimeoutMs + Math.ceil(bytes / slowestBytesPerMs) };
}

const retryableStatus = new Set([408, 425, 429]);
const retryableNames = new Set([
  'ConditionalRequestConflict',
  'OperationAborted',
  'RequestTimeout',
  'SlowDown',
  'TimeoutError',
  'IncompleteBody',
]);
const networkCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_STREAM_PREMATURE_CLOSE',
  'HPE_INVALID_CONSTANT',
]);

/** Status of the answer, or null when none came. */
export function statusOf(error: unknown): number | null {
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return $metadata?.httpStatusCode ?? null;
}

/** Name of an S3 error, as in `PreconditionFailed`. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : String(error);
}

/** The condition of a conditional write did not hold. */
export function isConditionFailed(error: unknown): boolean {
  return statusOf(error) === 412;
}

/** The object does not exist (the bucket does). */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket';
}

/** What happened, in one word. */
function reasonOf(error: unknown): string {
  const { code } = error as { code?: string };
  const name = nameOf(error);
  if (name !== 'Unknown' && name !== 'Error') return name;
  return String(statusOf(error) ?? code ?? name);
}

/** Nobody listens there. */
function isRefusal(error: unknown): boolean {
  return (error as { code?: string }).code === 'ECONNREFUSED';
}

function judge(error: unknown): Verdict {
  const status = statusOf(error);
  const { code } = error as { code?: string };
  if (retryableNames.has(nameOf(error)) || (code !== undefined && networkCodes.has(code))) {
    return 'retry';
  }
  if (status === null) return nameOf(error) === 'CredentialsProviderError' ? 'refused' : 'final';
  if (status >= 500 || retryableStatus.has(status)) return 'retry';
  // An answer that cannot be read was cut off on its way.
  if (status < 300) return 'retry';
  if (status === 401 || status === 403 || nameOf(error) === 'NoSuchBucket') return 'refused';
  return 'final';
}

function refusal(place: string, bucket: string, error: unknown): StoreRefused {
  const options = { cause: error };
  switch (nameOf(error)) {
    case 'NoSuchBucket':
      return new StoreRefused(
        `${place} has no bucket named ${bucket}. Set TEMPER_S3_BUCKET, or run npx temper up, which makes it.`,
        options,
      );
    case 'CredentialsProviderError':
      return new StoreRefused(
        `No keys for ${place}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`,
        options,
      );
    default:
      return new StoreRefused(
        `${place} refused our keys for bucket ${bucket} (${reasonOf(error)}). ` +
          'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do there.',
        options,
      );
  }
}

export interface RequestOptions {
  place: string;
  bucket: string;
  patienceMs: number;
  /** Whether a store that refuses connections is not about to come back. */
  isDown?: (() => Promise<boolean>) | undefined;
}

/** Requests that ride out an outage of `patienceMs`, unless the store is known to be down. */
export function createRequests(options: RequestOptions): Requests {
  const { place, bucket, patienceMs, isDown } = options;
  return {
    async send(what, attempt) {
      const started = Date.now();
      let uncertain = false;
      for (let tries = 1; ; tries += 1) {
        try {
          return await attempt({ uncertain });
        } catch (error) {
          const verdict = judge(error);
          if (verdict === 'final') throw error;
          // Whoever refuses our keys there may be the store of another stack.
          const isElsewhere = verdict === 'refused' || isRefusal(error);
          if (isElsewhere && (await isDown?.()) === true) {
            throw new StoreUnreachable(
              `${place} does not answer, for the stack is down. Start it: npx temper up`,
              { cause: error },
            );
          }
          // A store that is just coming back may not have read its keys yet.
          if (verdict === 'refused' && !uncertain) throw refusal(place, bucket, error);
          uncertain = true;
          const elapsed = Date.now() - started;
          if (elapsed >= patienceMs && tries > 1) {
            if (verdict === 'refused') throw refusal(place, bucket, error);
            throw new StoreUnreachable(
              `${place} did not answer ${what} in ${Math.round(elapsed / 1000)} s ` +
                `(${tries} attempts, last: ${reasonOf(error)}); is the stack up? npx temper up`,
              { cause: error },
            );
          }
          await sleep(Math.min(1000, 50 * 2 ** (tries - 1)) * (0.5 + Math.random() / 2));
        }
      }
    },
  };
}
