/** Why a Temporal service cannot be used, in one sentence each with what to do: down, other keys, other TLS, no configuration. */
import tls from 'node:tls';
import { isGrpcServiceError, type ConnectionOptions } from '@temporalio/client';
import { ClientError, rootMessage } from './errors.ts';

const passingCodes = [1, 4, 14];
const permissionDenied = 7;
const unauthenticated = 16;
const tlsProbeMs = 3000;

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
    if (isGrpcServiceError(current) && passingCodes.includes(current.code)) return true;
    if (/ECONNREFUSED|Failed to connect|DEADLINE_EXCEEDED|UNAVAILABLE/.test(current.message)) {
      return true;
    }
  }
  return false;
}

/** The sentence for what the service as such said or did not say; null when the error is about something else. */
export function serviceFault(address: string, error: unknown): ClientError | null {
  if (error instanceof ClientError) return null;
  for (let current = error; current instanceof Error; current = current.cause) {
    if (!isGrpcServiceError(current)) continue;
    if (current.code === unauthenticated) {
      return new ClientError(
        'unreachable',
        `Temporal at ${address} does not know our key (${current.details}). Set TEMPORAL_API_KEY, or api_key in the profile of Temporal's configuration file, to one that is valid.`,
        error,
      );
    }
    if (current.code === permissionDenied) {
      return new ClientError(
        'unreachable',
        `Temporal at ${address} refuses this to our key (${current.details}). Check TEMPORAL_NAMESPACE, and what the key in TEMPORAL_API_KEY may do there.`,
        error,
      );
    }
  }
  return isPassing(error) ? unreachable(address, error) : null;
}

/** The sentence for a profile, a file or a variable of Temporal's own configuration that cannot be used. */
export function badConfiguration(error: unknown): ClientError {
  const file = process.env['TEMPORAL_CONFIG_FILE'] ?? '';
  const where = file === '' ? 'its temporal.toml' : file;
  return new ClientError(
    'input',
    `Temporal's configuration cannot be used: ${rootMessage(error).split('\n')[0]}. Correct ${where} or the TEMPORAL_ variables (TEMPORAL_PROFILE names the profile).`,
    error,
  );
}

/** Looks again at a service with which no connection came about, because gRPC does not say that TLS is why. */
export async function tlsFault(
  address: string,
  config: ConnectionOptions['tls'],
): Promise<ClientError | null> {
  const { hostname, port } = new URL(`http://${address}`);
  const wanted = config !== undefined && config !== null && config !== false;
  const own = typeof config === 'object' && config !== null ? config : {};
  const pair = own.clientCertPair;
  const name = own.serverNameOverride ?? hostname;
  const socket = tls.connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || 7233,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: wanted,
    ...(/^[\d.]+$|^\[/.test(name) ? {} : { servername: name }),
    ...(own.serverRootCACertificate ? { ca: Buffer.from(own.serverRootCACertificate) } : {}),
    ...(pair ? { cert: Buffer.from(pair.crt), key: Buffer.from(pair.key) } : {}),
  });
  const found = await new Promise<NodeJS.ErrnoException | null | 'silent'>((resolve) => {
    socket.once('secureConnect', () => resolve(null));
    socket.once('error', resolve);
    socket.setTimeout(tlsProbeMs, () => resolve('silent'));
  });
  socket.destroy();
  if (found === 'silent') return null;
  if (found === null) {
    if (wanted) return null;
    return new ClientError(
      'unreachable',
      `Temporal at ${address} expects TLS, and we were told to do without. Set TEMPORAL_TLS=true, and TEMPORAL_TLS_SERVER_CA_CERT_PATH where its certificate is your own.`,
    );
  }
  const isTls = /SSL|TLS|CERT|SIGNED|SIGNATURE|ALTNAME|EPROTO|ISSUER/.test(found.code ?? '');
  if (!wanted || !isTls) return null;
  return new ClientError(
    'unreachable',
    `Temporal at ${address} and we do not agree on TLS: ${found.message.trim()} (${found.code}). Check TEMPORAL_TLS and the certificates that the TEMPORAL_TLS_ variables or the profile name.`,
    found,
  );
}
