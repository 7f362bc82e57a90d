/** `npm run bench` as a command: what it lists, what it refuses, and the line that it ends with. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { newcomerEnvironment } from '../../bench/install.ts';
import {
  boundLines,
  defineBench,
  parseSettings,
  runBench,
  usage,
} from '../../bench/support/bench.ts';
import { startStream, summarise } from '../../bench/support/requests.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');

function bench(args: string[]) {
  return execa(process.execPath, ['bench/run.ts', ...args], { cwd: projectDir, reject: false });
}

/** The clock alone, at no cost. */
const quick = defineBench({
  name: 'quick',
  summary: 'nothing',
  settings: z.strictObject({
    pairs: z.int().min(1).default(7).describe('how many'),
    keep: z.boolean().default(false).describe('keep it'),
    limit: z.number().default(3).describe('of the figure'),
    stopsEach: z.int().min(1).optional().describe('of one'),
  }),
  measure: async ({ pairs, limit }) => {
    if (pairs === 13) throw new Error('unlucky');
    return {
      figures: { value: pairs / 3 },
      bounds: [{ name: 'a third', value: pairs / 3, max: limit }],
    };
  },
});

test('without a name, every benchmark is listed with its options', async () => {
  const { stdout, exitCode } = await bench([]);
  expect(exitCode).toBe(0);
  for (const name of ['answers', 'quickstart', 'throughput', 'install', 'rollback']) {
    expect(stdout).toMatch(new RegExp(`^  ${name} +\\S`, 'm'));
  }
  expect(stdout).toContain('--pairs <integer>');
});

test('an unknown benchmark or option is refused before anything starts', async () => {
  const unknown = await bench(['quikstart']);
  expect(unknown.exitCode).toBe(2);
  expect(unknown.stderr).toContain('found "quikstart", expected quickstart, ');
  const option = await bench(['throughput', '--pairs', 'many']);
  expect(option.exitCode).toBe(2);
  expect(option.stderr).toContain('--pairs');
});

test('a benchmark that breaks down still ends with one JSON object, and fails', async () => {
  const { stdout, exitCode } = await bench(['quickstart', '--pipeline', 'no-such-file.yaml']);
  expect(exitCode).toBe(1);
  const report = JSON.parse(stdout.split('\n').at(-1)!) as Record<string, unknown>;
  expect(report).toMatchObject({ bench: 'quickstart', ok: false, bounds: [] });
  expect(report['error']).toContain('no-such-file.yaml');
});

test('settings are read from the command line, the rest are defaults', () => {
  expect(parseSettings(quick, ['--pairs', '3', '--keep'])).toEqual({
    pairs: 3,
    keep: true,
    limit: 3,
  });
  expect(() => parseSettings(quick, ['--pairs', '0'])).toThrow('bench quick: --pairs');
});

test('options are written with hyphens, as those of every other command', () => {
  expect(parseSettings(quick, ['--stops-each', '2'])).toMatchObject({ stopsEach: 2 });
  expect(() => parseSettings(quick, ['--stopsEach', '2'])).toThrow('--stopsEach');
  expect(() => parseSettings(quick, ['--stops-each', '0'])).toThrow('bench quick: --stops-each');
  expect(usage([quick]).join('\n')).toContain('--stops-each <integer>');
});

test('a report holds figures, bounds, machine and settings, and is ok when every bound holds', async () => {
  const settings = parseSettings(quick, ['--pairs', '8']);
  const report = await runBench(quick, settings);
  expect(report).toMatchObject({
    bench: 'quick',
    ok: true,
    figures: { value: 2.6667 },
    bounds: [{ name: 'a third', value: 2.6667, max: 3, holds: true }],
    settings: { pairs: 8, keep: false, limit: 3 },
    error: null,
  });
  expect(report.machine).toMatchObject({ device: expect.any(String), cores: expect.any(Number) });
  expect(boundLines(report)).toEqual(['  ✓ a third: 2.6667, expected at most 3']);
});

test('a missed bound is no success', async () => {
  const report = await runBench(quick, { pairs: 10, keep: false, limit: 3 });
  expect(report.ok).toBe(false);
  expect(report.bounds[0]!.holds).toBe(false);
  expect((await runBench(quick, { pairs: 13 })).error).toBe('unlucky');
});

test('a newcomer has no caches, no npm settings of ours and no programs of ours; the registry stays', () => {
  const env = {
    PATH: `${projectDir}/node_modules/.bin:/usr/bin:/bin`,
    HOME: '/root',
    npm_config_cache: '/root/.npm',
    npm_config_registry: 'https://registry.example',
    npm_lifecycle_event: 'bench',
    PIP_CACHE_DIR: '/cache',
    PIP_INDEX_URL: 'https://index.example',
    LANG: 'C.UTF-8',
  };
  expect(newcomerEnvironment(env, '/empty')).toEqual({
    PATH: '/usr/bin:/bin',
    HOME: '/empty',
    npm_config_registry: 'https://registry.example',
    PIP_INDEX_URL: 'https://index.example',
    LANG: 'C.UTF-8',
  });
});

test('a stream asks at its pace and counts every answer that is not a good one', async () => {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    if (asked === 2) request.socket.destroy();
    else if (asked === 3) response.writeHead(503).end('busy');
    else response.writeHead(200, { 'x-temper-bundle': `b${asked}` }).end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const stream = startStream({ url, apiKey: 'k', model: 'm', perSecond: 50 });
  while (asked < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  const requests = await stream.stop();
  server.close();
  const found = summarise(requests);
  expect(found.requests).toBe(requests.length);
  expect(found.failed).toBe(2);
  expect(found.failures).toContain('status 503: busy');
  expect(requests[0]!.bundle).toBe('b1');
});
