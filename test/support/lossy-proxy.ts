/** An HTTP proxy that carries requests out and can lose the reply: the case that a conditional write must survive. */
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface LossyProxy {
  endpoint: string;
  /** Loses the reply to the next request that fits, after `meanwhile` ran. */
  loseReply(
    fits: (method: string, url: string) => boolean,
    meanwhile?: () => Promise<unknown>,
  ): void;
  /** Replies that were lost. */
  lost(): number;
  close(): Promise<void>;
}

interface Loss {
  fits: (method: string, url: string) => boolean;
  meanwhile: () => Promise<unknown>;
}

/** A proxy in front of `target`; the Host header stays, for the signature covers it. */
export async function startLossyProxy(target: string): Promise<LossyProxy> {
  const { hostname, port } = new URL(target);
  const losses: Loss[] = [];
  let numLost = 0;
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const upstream = request({ hostname, port, method, path: url, headers }, (answer) => {
      const index = losses.findIndex((loss) => loss.fits(method, url));
      const [loss] = index === -1 ? [] : losses.splice(index, 1);
      if (loss === undefined) {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
        return;
      }
      answer.resume();
      answer.on('end', () => {
        void loss.meanwhile().finally(() => {
          numLost += 1;
          incoming.socket.destroy();
        });
      });
    });
    upstream.on('error', () => incoming.socket.destroy());
    incoming.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    loseReply: (fits, meanwhile = async () => {}) => {
      losses.push({ fits, meanwhile });
    },
    lost: () => numLost,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
