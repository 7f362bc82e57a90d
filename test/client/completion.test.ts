/** Shell completion: what is offered where, and the bash script as bash itself runs it. */
import { createServer, type Server } from 'node:http';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { candidatesFor } from '../../client/cli/completion.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(path.join(os.tmpdir(), 'temper-completion-'));
const home = path.join(scratch, 'home');
let s3: TestS3;
let temporal: Server;
let delayMs = 0;

beforeAll(async () => {
  s3 = await startS3();
  for (const key of ['models/policy/versions/000001.json', 'models/polish/versions/000001.json']) {
    await s3.store.putIfAbsent(key, Buffer.from('{}'));
  }
  await s3.store.putIfAbsent('deployments/desk.json', Buffer.from('{}'));
  await s3.store.putIfAbsent('deployments/desk/nodes/local.json', Buffer.from('{}'));
  await s3.store.putIfAbsent('datasets/laws/versions/000001.json', Buffer.from('{}'));
  // Temporal's HTTP API, as the local stack's server answers.
  temporal = createServer((request, response) => {
    const executions = ['pipeline/policy-7f3a', 'pipeline/policy-11aa', 'pipeline/laws-0b0b'].map(
      (workflowId) => ({ execution: { workflowId } }),
    );
    const found = request.url?.startsWith('/api/v1/namespaces/default/workflows?query=') === true;
    setTimeout(() => response.end(found ? JSON.stringify({ executions }) : '{}'), delayMs);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => temporal.once('listening', resolve));

  const names =
    'temporal temporalUi s3 serving temporalHttp temporalMetrics s3Grpc s3Master s3MasterGrpc s3Volume s3VolumeGrpc s3Filer s3FilerGrpc s3Admin s3AdminGrpc';
  const ports = {
    ...Object.fromEntries(names.split(' ').map((name) => [name, 1])),
    s3: Number(new URL(s3.endpoint).port),
    temporalHttp: (temporal.address() as AddressInfo).port,
  };
  mkdirSync(home);
  const stack = { schemaVersion: 1, bucket: s3.store.bucket, portBase: 28_000, ports };
  const secrets = {
    schemaVersion: 1,
    s3AccessKeyId: s3.accessKeyId,
    s3SecretAccessKey: s3.secretAccessKey,
    apiKey: 'none',
  };
  writeFileSync(path.join(home, 'stack.json'), JSON.stringify(stack));
  writeFileSync(path.join(home, 'secrets.json'), JSON.stringify(secrets));
});
afterAll(async () => {
  temporal?.close();
  await s3?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

describe('candidates', () => {
  const program = new Command('temper');
  program.command('up');
  program
    .command('run')
    .argument('[file]')
    .option('-d, --detach')
    .option('--name <run>')
    .option('-o, --output <file>')
    .addOption(new Option('--goal <goal>').choices(['base', 'assistant']));
  const models = program.command('models');
  models.command('list');
  models.command('rollback').argument('<model>').argument('[endpoint...]');
  program.command('hidden', { hidden: true });
  const names = async (kind: string) => [`${kind}-a`, `${kind}-b`];
  const words = async (...line: string[]) => (await candidatesFor(program, line, names)).words;
  const places = async (...line: string[]) => (await candidatesFor(program, line, names)).places;

  test('commands, and what stands below them', async () => {
    expect(await words('')).toEqual(['up', 'run', 'models', 'help']);
    expect(await words('r')).toEqual(['run']);
    expect(await words('models', '')).toEqual(['list', 'rollback', 'help']);
  });
  test('options, where an option may stand', async () => {
    expect(await words('run', '--')).toEqual([
      '--detach',
      '--name',
      '--output',
      '--goal',
      '--help',
    ]);
    expect(await words('run', '--', '--')).toEqual([]);
  });
  test('the value of an option, where the option says which', async () => {
    expect(await words('run', '--goal', 'a')).toEqual(['assistant']);
    expect(await places('run', '--output', '')).toBe('files');
    expect(await words('run', '--name', '')).toEqual([]);
  });
  test('arguments by their names, each in its place', async () => {
    expect(await places('run', '--detach', '')).toBe('files');
    expect(await words('models', 'rollback', '')).toEqual(['models-a', 'models-b']);
    expect(await words('models', 'rollback', 'x', 'y', 'endpoints-b')).toEqual(['endpoints-b']);
    expect(await words('up', '')).toEqual([]);
  });
});

/** Sources the script in a bash without start-up files, and completes the last word of a line. */
async function complete(line: string[], env: Record<string, string> = {}): Promise<string[]> {
  const main = path.join(projectDir, 'bin/temper');
  const start = line[0] === 'npx' ? '_temper_npx' : '_temper';
  const script = `
    source <("${main}" completion bash) || exit 9
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    ${start}
    printf '%s\\n' "\${COMPREPLY[@]}"
    complete -p ${line[0]} >&2`;
  const { stdout, stderr, exitCode } = await execa(
    'bash',
    ['--norc', '-c', script, 'bash', ...line],
    {
      cwd: scratch,
      reject: false,
      env: { TEMPER_HOME: home, TEMPORAL_ADDRESS: '', ...env },
    },
  );
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining(`-F ${start} ${line[0]}`)]);
  return stdout.split('\n').filter(Boolean);
}

test('bash completes commands and options, of temper and of npx temper', async () => {
  expect(await complete(['temper', 'mod'])).toEqual(['models']);
  expect(await complete(['npx', 'temper', 'models', 'ro'])).toEqual(['rollback']);
  expect(await complete(['npx', 'prettier', ''])).toEqual([]);
  expect(await complete(['temper', 'status', '--w'])).toEqual(['--watch']);
});

test('bash completes runs and models of the stack that is up', async () => {
  expect(await complete(['temper', 'status', 'pol'])).toEqual(['policy-7f3a', 'policy-11aa']);
  expect(await complete(['temper', 'models', 'rollback', 'pol'])).toEqual(['policy', 'polish']);
  expect(await complete(['temper', 'chat', ''])).toEqual(['desk']);
  expect(await complete(['temper', 'datasets', 'show', ''])).toEqual(['laws']);
  expect(await complete(['temper', 'datasets', 'append', ''])).toEqual(['laws']);
}, 60_000);

test('bash completes files, with spaces too', async () => {
  mkdirSync(path.join(scratch, 'a folder'));
  writeFileSync(path.join(scratch, 'a pipeline.yaml'), '');
  expect((await complete(['temper', 'run', 'a '])).toSorted()).toEqual([
    'a folder',
    'a pipeline.yaml',
  ]);
  expect(await complete(['temper', 'init', 'a '])).toEqual(['a folder']);
});

test('a stack that is slow, down or was never made gives no names, soon, and nothing is made', async () => {
  delayMs = 5000;
  const began = performance.now();
  expect(await complete(['temper', 'status', ''])).toEqual([]);
  expect(performance.now() - began).toBeLessThan(4000);
  delayMs = 0;
  const nowhere = path.join(scratch, 'nowhere');
  expect(await complete(['temper', 'status', ''], { TEMPER_HOME: nowhere })).toEqual([]);
  expect(existsSync(nowhere)).toBe(false);
  expect(await complete(['temper', 'status', ''], { TEMPORAL_ADDRESS: '127.0.0.1:1' })).toEqual([]);
});

test.each(['zsh', 'fish'])('%s has a script that asks the same', async (shell) => {
  const main = path.join(projectDir, 'client/cli/main.ts');
  const { stdout } = await execa(process.execPath, [main, 'completion', shell]);
  expect(stdout).toContain(`'${path.join(projectDir, 'bin/temper')}' __complete -- `);
});

test('another shell is refused with those that are known', async () => {
  const main = path.join(projectDir, 'client/cli/main.ts');
  const { exitCode, stderr } = await execa(process.execPath, [main, 'completion', 'tcsh'], {
    reject: false,
  });
  expect([exitCode, stderr]).toEqual([2, 'completion: found "tcsh", expected bash, zsh, fish.']);
});
