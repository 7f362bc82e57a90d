/** Finds and opens the Temporal service: what is named, else what the environment says, else the local stack. */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { badConfiguration, serviceFault, tlsFault, unreachable } from './connection-faults.ts';

export interface TemporalAddress {
  /** host:port; left out, TEMPORAL_ADDRESS or a profile of Temporal's own configuration file. */
  address?: string | undefined;
  namespace?: string | undefined;
}

export interface OpenedTemporal {
  client: Client;
  address: string;
  namespace: string;
}

/** Connects, or throws one sentence that says what to do. */
export async function openTemporal(at: TemporalAddress): Promise<OpenedTemporal> {
  const config = loadConfiguration(at);
  const address = at.address ?? config.connectionOptions.address ?? '127.0.0.1:7233';
  const namespace = at.namespace ?? config.namespace ?? 'default';
  const { metadata } = config.connectionOptions;
  const local = /^(127\.|localhost|\[::1\])/.test(address);
  // The local stack, which is always named, has neither TLS nor keys, whatever the shell has for others.
  const ownStack = local && at.address !== undefined;
  const { tls, apiKey } = ownStack ? {} : config.connectionOptions;
  try {
    if (local) await requireListener(address);
    const connection = await Connection.connect({
      address,
      connectTimeout: local ? '4s' : '15s',
      channelArgs: {
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 2000,
      },
      ...(tls === undefined ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata: metadata as Record<string, string> }),
    });
    return { client: new Client({ connection, namespace }), address, namespace };
  } catch (error) {
    const fault = serviceFault(address, error);
    if (fault === null || ownStack || !isConnectionLess(error)) {
      throw fault ?? unreachable(address, error);
    }
    throw (await tlsFault(address, tls)) ?? fault;
  }
}

function loadConfiguration(at: TemporalAddress): ReturnType<typeof loadClientConnectConfig> {
  try {
    return loadClientConnectConfig(at.address === undefined ? {} : { disableFile: true });
  } catch (error) {
    throw badConfiguration(error);
  }
}

/** gRPC gave up waiting for a connection: somebody may listen all the same, and speak otherwise. */
function isConnectionLess(error: unknown): boolean {
  return error instanceof Error && error.message.includes('Failed to connect before the deadline');
}

/** On this machine a closed port is known at once; gRPC would wait for its whole time limit. */
async function requireListener(address: string): Promise<void> {
  const { hostname, port } = new URL(`http://${address}`);
  for (let attempt = 1; ; attempt += 1) {
    const socket = net.connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    const fault = await new Promise<Error | null>((resolve) => {
      socket.once('connect', () => resolve(null));
      socket.once('error', resolve);
    });
    socket.destroy();
    if (fault === null) return;
    if (attempt === 3) throw fault;
    await sleep(100);
  }
}
