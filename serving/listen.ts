/** Binds an app to a port of this machine only, and closes it without cutting answers off. */
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';

export interface Listener {
  url: string;
  /** Takes no new connections; resolves when the last answer is out, or after the time given. */
  close(timeoutMs: number): Promise<void>;
}

/** Port 0 takes a free one. */
export async function listen(app: Hono, port: number): Promise<Listener> {
  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(
              `port ${port} on 127.0.0.1 is taken. Stop what uses it, or set TEMPER_SERVING_PORT.`,
              { cause: error },
            )
          : error,
      );
    });
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close(timeoutMs) {
      const timer = setTimeout(() => {
        if ('closeAllConnections' in server) server.closeAllConnections();
      }, timeoutMs);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        if ('closeIdleConnections' in server) server.closeIdleConnections();
      });
      clearTimeout(timer);
    },
  };
}
