/** Where the trainers of several hosts meet: on the run's own network, at a port of the leading host that is free. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import type { Head } from '../config/manifests.ts';
import { ranksAHost } from '../config/recipe.ts';
import type { TrainerRun } from '../config/trainer.ts';
import { commitMeeting } from '../registry/gangs.ts';
import type { Deps } from './deps.ts';
import type { Generation } from './training-job.ts';

/** Decides, once a generation, where its trainers meet and from which step on they train. */
export async function openMeeting(
  deps: Deps,
  { job, fence, writer, gang }: Generation,
  step: number,
): Promise<Head> {
  const address = requireAddress(deps);
  const meeting = {
    meeting: writer,
    hosts: gang!.hosts,
    address,
    port: await freePort(address),
    step,
  };
  const numPlanned = job.recipe.worldSize / ranksAHost(job.machine);
  return await commitMeeting(deps.store, job.trial, { fence, writer }, { meeting, numPlanned });
}

/** What run.json says of this host's gang; nothing where it trains alone. */
export function placeInGang(
  deps: Deps,
  head: Head,
  gang: Generation['gang'],
): Pick<TrainerRun, 'gang'> {
  if (gang === undefined || gang.hosts.length === 1) return {};
  const { meeting, hosts, address, port } = head.gang!;
  return {
    gang: {
      meeting,
      numHosts: hosts.length,
      host: hosts.indexOf(deps.host),
      address,
      port,
      localAddress: requireAddress(deps),
    },
  };
}

function requireAddress({ host, gangAddress }: Deps): string {
  if (gangAddress !== undefined) return gangAddress;
  throw ApplicationFailure.nonRetryable(
    `host ${host} has no address for training with others: set TEMPER_GANG_ADDRESS on it to its IPv4 address on the ` +
      "runs' network, and start its gpu worker again.",
    FailureType.InvalidConfig,
  );
}

/** One that is taken in the next moment costs a generation, which finds another. */
async function freePort(address: string): Promise<number> {
  const server = createServer();
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  await once(server, 'close');
  if (bound === null || typeof bound === 'string') throw new Error(`${address}: found no port`);
  return bound.port;
}
