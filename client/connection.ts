/** Finds and opens the Temporal service: what is named, else what the environment says, else the local stack. */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, isGrpcServiceError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { ClientError } from './errors.ts';

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

const grpcUnavailable = [1, 4, 14];

/** Connects, or throws one sentence that says what to do. */
export async function openTemporal(at: TemporalAddress): Promise<OpenedTemporal> {
  const config = loadClientConnectConfig(at.address === undefined ? {} : { disableFile: true });
  const address = at.address ?? config.connectionOptions.address ?? '127.0.0.1:7233';
  const namespace = at.namespace ?? config.namespace ?? 'default';
  const { tls, apiKey, metadata } = config.connectionOptions;
  const local = /^(127\.|localhost|\[::1\])/.test(address);
  try {
    if (local) await requireListener(address);
    const connection = await Connection.connect({
      address,
      connectTimeout: local ? '4s' : '15s',
      channelArgs: {
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 2000,
      },
      ...(tls === undefined || local ? {} : { tls }),
      ...(apiKey === undefined || local ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata: metadata as Record<string, string> }),
    });
    return { client: new Client({ connection, namespace }), address, namespace };
  } catch (error) {
    throw unreachable(address, error);
  }
}

/** On this machine a closed port is known at once; gRPC would wait for its whole time limit. */
async function requireListener(address: string): Promise<void> {
  const { hostname, port } = new URL(`http://${address}`);
  for (let attempt = 1; ; attempt += 1) {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    const socket = net.connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    socket.once('connect', () => resolve(null));
    socket.once('error', resolve);
    const fault = await promise;
    socket.destroy();
    if (fault === null) return;
    if (attempt === 3) throw fault;
    await sleep(200);
  }
}

/** The sentence for a Temporal service that does not answer. */
export function unreachable(address: string, cause: unknown): ClientError {
  return new ClientError(
    'unreachable',
    `Temporal unreachable at ${address}: is the stack up? npx temper up`,
    cause,
  );
}

/** True for errors that a service which is down or restarting gives, and which pass by themselves. */
export function isPassing(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (isGrpcServiceError(current) && grpcUnavailable.includes(current.code)) return true;
    if (/ECONNREFUSED|Failed to connect|DEADLINE_EXCEEDED|UNAVAILABLE/.test(current.message)) {
      return true;
    }
  }
  return false;
}
