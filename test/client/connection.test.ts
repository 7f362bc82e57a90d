/** What a Temporal service that is there, but not for us, is called. */
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';
import { connectTemper } from '../../client/client.ts';
import { tlsFault } from '../../client/connection-faults.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const end of ends.splice(0)) end();
});

async function listen(server: net.Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => server.close());
  return `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

const answering = (status: number, message: string) =>
  http2.createServer().on('stream', (stream) => {
    const headers = { ':status': 200, 'content-type': 'application/grpc' };
    stream.respond(
      { ...headers, 'grpc-status': String(status), 'grpc-message': message },
      { endStream: true },
    );
  });

test.each([
  [16, /does not know our key \(bad token\)\. Set TEMPORAL_API_KEY/],
  [7, /refuses this to our key \(bad token\)\. Check TEMPORAL_NAMESPACE/],
])('gRPC status %i is about keys, not about a stack that is down', async (status, sentence) => {
  const address = await listen(answering(status, 'bad token'));
  await expect(connectTemper({ address })).rejects.toMatchObject({
    kind: 'unreachable',
    message: expect.stringMatching(sentence),
  });
});

test('a service that does not speak TLS is told from one that is down', async () => {
  const plain = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  });
  const address = await listen(plain);
  expect((await tlsFault(address, true))?.message).toMatch(/do not agree on TLS: .*TEMPORAL_TLS/);
  expect(await tlsFault(address, undefined)).toBeNull();
  expect(await tlsFault('127.0.0.1:1', true)).toBeNull();
});

test('a profile that cannot be read is wrong input, and named', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-profile-'));
  ends.push(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'temporal.toml');
  writeFileSync(file, '[profile.default\n');
  vi.stubEnv('TEMPORAL_CONFIG_FILE', file);
  await expect(connectTemper()).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringMatching(/cannot be used: Invalid TOML.*temporal\.toml/),
  });
});
