/** One command at a time changes a stack: the lock is a listening socket, which the kernel frees when its holder dies. */
import { createHash } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs `work` while nobody else who names the same resource does. */
export async function withLock<T>(
  resource: string,
  work: () => Promise<T>,
  { limitMs = 120_000, onWait = (): void => {} } = {},
): Promise<T> {
  const name = createHash('sha256').update(`${process.getuid?.()}:${resource}`).digest('hex');
  const deadline = Date.now() + limitMs;
  let lock = await tryLock(name);
  if (lock === null) onWait();
  while (lock === null) {
    if (Date.now() > deadline) {
      throw new Error(
        `${resource}: another command has been changing this stack for ${Math.round(limitMs / 1000)} s, expected it to end. Wait for it or end it, then try again.`,
      );
    }
    await sleep(100);
    lock = await tryLock(name);
  }
  try {
    return await work();
  } finally {
    lock.close();
  }
}

function tryLock(name: string): Promise<net.Server | null> {
  const { promise, resolve, reject } = Promise.withResolvers<net.Server | null>();
  const server = net.createServer((socket) => socket.destroy());
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') resolve(null);
    else reject(error);
  });
  server.listen(`\0temper-${name}`, () => {
    server.unref();
    resolve(server);
  });
  return promise;
}
