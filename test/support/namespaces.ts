/** Hosts for tests on one machine: network namespaces on a bridge, where those can be made, else addresses of loopback. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';

export interface Hosts {
  /** Of each host, on their network. */
  addresses: string[];
  /** Whether each has a network of its own. */
  isolated: boolean;
  /** What stands before a command that runs on a host. */
  enter(host: number): string[];
  /** Makes a port of 127.0.0.1 reachable from the hosts; returns where. */
  expose(port: number): Promise<string>;
  remove(): void;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

/** `id` tells apart tests that run at the same time: a number below 256. */
export function makeHosts(id: number, numHosts: number): Hosts {
  const network = `10.213.${id}`;
  const bridge = `tmpbr${id}`;
  const names = Array.from({ length: numHosts }, (_, host) => `temper-e2e-${id}-${host}`);
  const servers: Server[] = [];
  const remove = () => {
    for (const server of servers) server.close();
    for (const name of names) quietly(() => ip('netns', 'del', name));
    quietly(() => ip('link', 'del', bridge));
  };
  try {
    ip('link', 'add', bridge, 'type', 'bridge');
    ip('addr', 'add', `${network}.254/24`, 'dev', bridge);
    ip('link', 'set', bridge, 'up');
    for (const [host, name] of names.entries()) {
      const cable = `tmp${id}h${host}`;
      ip('netns', 'add', name);
      ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      ip('link', 'set', cable, 'master', bridge, 'up');
      ip('-n', name, 'addr', 'add', `${network}.${host + 1}/24`, 'dev', 'eth0');
      ip('-n', name, 'link', 'set', 'eth0', 'up');
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
  } catch {
    remove();
    return {
      addresses: names.map((_, host) => `127.0.0.${host + 2}`),
      isolated: false,
      enter: () => [],
      expose: async (port) => `127.0.0.1:${port}`,
      remove: () => {},
    };
  }
  return {
    addresses: names.map((_, host) => `${network}.${host + 1}`),
    isolated: true,
    enter: (host) => ['ip', 'netns', 'exec', names[host]!],
    async expose(port) {
      const server = createServer((socket) => {
        const inner = connect(port, '127.0.0.1');
        const end = () => {
          socket.destroy();
          inner.destroy();
        };
        socket.on('error', end).on('close', end);
        inner.on('error', end).on('close', end);
        socket.pipe(inner).pipe(socket);
      });
      servers.push(server);
      server.listen(port, `${network}.254`);
      await once(server, 'listening');
      server.unref();
      return `${network}.254:${port}`;
    },
    remove,
  };
}

function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // It was never made.
  }
}
