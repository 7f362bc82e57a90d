/** Every command against a stack that is down: one exit code, one sentence, and no waiting for what cannot answer. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { temper } from '../../client/cli/program.ts';
import type { report, CommonOptions } from '../../client/cli/output.ts';

const ended = vi.hoisted(() => ({ code: -1 }));
vi.mock('../../client/cli/output.ts', async (original) => {
  const real: { report: typeof report } = await original();
  const finish = async (options: CommonOptions, work: () => Promise<number>) => {
    ended.code = await work().catch((error: unknown) => real.report(error, options));
  };
  return { ...real, finish };
});

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-down-'));
const pipeline = path.join(folder, 'pipeline.yaml');
writeFileSync(
  pipeline,
  'version: 1\nname: policy\ndata:\n  sources: [{ path: ., license: internal }]\n',
);
let said: string[];
beforeEach(() => {
  said = [];
  vi.stubEnv('TEMPER_HOME', path.join(folder, 'home'));
  vi.stubEnv('TEMPORAL_ADDRESS', '');
  const hear = (chunk: unknown) => said.push(String(chunk)) > 0;
  vi.spyOn(process.stdout, 'write').mockImplementation(hear);
  vi.spyOn(process.stderr, 'write').mockImplementation(hear);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(words: readonly string[]): Promise<{ code: number; ms: number; said: string }> {
  ended.code = -1;
  const began = performance.now();
  await temper().parseAsync(['node', 'temper', ...words]);
  return { code: ended.code, ms: performance.now() - began, said: said.join('') };
}

/** What a command that needs the stack is told; the others start it themselves, or need none. */
const needing = [
  'status',
  'status policy-7f3a',
  'status --watch',
  'cancel policy-7f3a',
  'approve policy@1',
  'pause policy-7f3a',
  'unpause policy-7f3a',
  'set policy-7f3a lr=0.5x',
  'budget policy-7f3a',
  'budget add policy-7f3a 30m',
  'report policy-7f3a',
  'curves policy-7f3a',
  'ledger policy-7f3a',
  'compare policy-7f3a policy-11aa',
  'datasets list',
  'datasets show policy',
  'datasets inspect policy',
  'datasets diff policy',
  'datasets export policy ./out',
  'datasets card policy',
  'datasets expire',
  'models list',
  'models show policy',
  'models diff policy@1 policy@2',
  'models promote policy@1',
  'models pull policy',
  'models rollback policy',
  'schedule list',
  'schedule show policy',
  'schedule pause policy',
  'schedule unpause policy',
  'schedule trigger policy',
  'schedule delete policy',
  `chat policy hello`,
];
const starting = ['up', 'run', 'recover', 'quickstart', 'datasets add', 'datasets append'];
const free = ['down', 'doctor', 'init', 'plan', 'logs', 'completion', 'version', 'help'];

test.each(needing)('%s ends with 3 and says how to start the stack', async (line) => {
  const { code, said: text } = await run(line.split(' '));
  expect(text).toContain('npx temper up');
  expect(code).toBe(3);
});

test('no store is waited for that cannot answer', async () => {
  // The second time, nothing has to be loaded any more; patience alone would take 5 s.
  await run(['datasets', 'list']);
  expect((await run(['datasets', 'list'])).ms).toBeLessThan(2500);
});

test('under --json the same is one line of JSON', async () => {
  const { code } = await run(['models', 'show', 'policy', '--json']);
  expect(code).toBe(3);
  const { error } = JSON.parse(said[0]!) as { error: { kind: string; message: string } };
  expect(error).toEqual({
    kind: 'unreachable',
    message: expect.stringContaining('the stack is down. Start it: npx temper up'),
  });
});

test('a plan that goes on from the registry needs it: 3, as the others', async () => {
  const file = path.join(folder, 'grown.yaml');
  writeFileSync(file, 'version: 1\nname: policy\ndata: { dataset: policy@1 }\n');
  expect((await run(['plan', file])).code).toBe(3);
});

test('what was never stored is not looked for by starting a stack', async () => {
  const { code, said: text } = await run(['recover', 'policy-7f3a']);
  expect(text).toMatch(/no stack has ever run in .*home, .*Nothing was started\./);
  expect(code).toBe(2);
});

test('these are all the commands that there are', () => {
  const words = (command: Command, before: string[] = []): string[] =>
    command
      .createHelp()
      .visibleCommands(command)
      .flatMap((child) => {
        const path = [...before, child.name()];
        const below = words(child, path);
        return below.length === 0 || child.registeredArguments.length > 0
          ? [path.join(' '), ...below]
          : below;
      });
  const known = [...needing, ...starting, ...free, 'schedule create'];
  const untold = words(temper()).filter(
    (name) =>
      !name.endsWith(' help') && !known.some((one) => one === name || one.startsWith(`${name} `)),
  );
  expect(untold).toEqual([]);
});
