/** Finds free ports, and says who holds a taken one: a port in use is the commonest reason for a stack not to start. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import net from 'node:net';
import { commandLine } from './processes.ts';

const lowestBase = 20_000;
const numBases = 11_000;

/** Whether a server could listen there now. */
export function isPortFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = net.createServer();
  server.once('error', () => resolve(false));
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
    server.close(() => resolve(true));
  });
  return promise;
}

/**
 * A base below the range that outgoing connections use, such that all ports which `portsFrom` derives from it are
 * free and belong to nobody: the first such row from a random one on.
 */
export async function findFreeBase(
  portsFrom: (base: number) => number[],
  isTaken: (port: number) => boolean = () => false,
): Promise<number> {
  const count = portsFrom(lowestBase).length;
  const numRows = Math.floor(numBases / count);
  const first = Math.floor(Math.random() * numRows);
  for (let row = 0; row < numRows; row += 1) {
    const base = lowestBase + count * ((first + row) % numRows);
    const ports = portsFrom(base);
    if (ports.some(isTaken)) continue;
    const free = await Promise.all(ports.map(isPortFree));
    if (free.every(Boolean)) return base;
  }
  throw new Error(
    `ports: found no ${count} free ports in a row between 20000 and 31000. Stop what holds them, delete the homes of stacks that nobody needs, or name a base: TEMPER_PORT_BASE=40000.`,
  );
}

/** The process that listens on a port of this machine, when the kernel lets us see it. */
export function findListener(port: number): { pid: number; program: string } | null {
  const inodes = new Set([
    ...listeningInodes('/proc/net/tcp', port),
    ...listeningInodes('/proc/net/tcp6', port),
  ]);
  if (inodes.size === 0) return null;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    if (holdsSocket(pid, inodes)) {
      return { pid, program: (commandLine(pid)[0] ?? '').split('/').at(-1) || 'unknown' };
    }
  }
  return null;
}

function listeningInodes(table: string, port: number): string[] {
  const listening = '0A';
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let rows: string[];
  try {
    rows = readFileSync(table, 'utf8').split('\n').slice(1);
  } catch {
    return [];
  }
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((cells) => cells[1]?.endsWith(suffix) && cells[3] === listening)
    .map((cells) => `socket:[${cells[9]}]`);
}

function holdsSocket(pid: number, inodes: Set<string>): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return inodes.has(readlinkSync(`${folder}/${fd}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
