/**
 * SeaweedFS speaks to itself over sockets in /tmp, by paths that nothing can change, and leaves them there: a stack takes
 * its own away.
 */
import { existsSync, rmSync } from 'node:fs';
import { isPortFree } from './ports.ts';
import type { Ports } from './settings.ts';

const services = {
  master: 's3MasterGrpc',
  volume: 's3VolumeGrpc',
  filer: 's3FilerGrpc',
  s3: 's3Grpc',
  admin: 's3AdminGrpc',
} as const satisfies Record<string, keyof Ports>;

/** Where the services of a SeaweedFS with these ports put their sockets. */
export function socketsOf(ports: Ports): { file: string; port: number }[] {
  return Object.entries(services).map(([service, name]) => {
    const port = ports[name];
    return { file: `/tmp/seaweedfs-${service}-grpc-${port}.sock`, port };
  });
}

/** Removes those that nobody listens behind; one whose port is taken belongs to whoever has it. */
export async function removeStaleSockets(ports: Ports): Promise<void> {
  for (const { file, port } of socketsOf(ports)) {
    if (!existsSync(file) || !(await isPortFree(port))) continue;
    try {
      rmSync(file, { force: true });
    } catch {
      // Of another user, in a folder where each removes what is his.
    }
  }
}
