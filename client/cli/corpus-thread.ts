/** Asks a thread that runs code of `corpus/`, which the command line may not load itself. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { projectDir } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';

interface Failed {
  kind: 'failed';
  /** It is the input that is wrong, not the thread. */
  wrongInput: boolean;
  message: string;
}

interface Asked<Reply, Result> {
  /** In `corpus/`. */
  file: string;
  request: unknown;
  /** In words, for an error: what the thread does. */
  what: string;
  /** Reads a message by its contract, which is loaded while the thread is at work already. */
  read: Promise<(message: unknown) => Reply | Failed>;
  /** What a reply ends with; undefined: there is more to come. */
  take: (reply: Exclude<Reply, Failed>) => Result | undefined;
}

export async function askThread<Reply extends { kind: string }, Result>({
  file,
  request,
  what,
  read,
  take,
}: Asked<Reply, Result>): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  const worker = new Worker(path.join(projectDir, 'corpus', file), { workerData: request });
  // What it says before its contract is here waits in order.
  worker.on('message', (message: unknown) => {
    read
      .then((parse) => {
        const reply = parse(message);
        if (isFailed(reply)) {
          reject(new ClientError(reply.wrongInput ? 'input' : 'failed', reply.message));
          return;
        }
        const result = take(reply as Exclude<Reply, Failed>);
        if (result !== undefined) resolve(result);
      })
      .catch(reject);
  });
  worker.on('error', reject);
  worker.on('exit', (code) => {
    const ended = new Error(`${what} ended early, with ${code}. Try again.`);
    read.then(() => reject(ended), reject);
  });
  try {
    return await promise;
  } finally {
    await worker.terminate();
  }
}

function isFailed(reply: { kind: string } | Failed): reply is Failed {
  return reply.kind === 'failed';
}
