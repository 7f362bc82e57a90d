/** How the benchmark of answers finds commands and times them, and the sign of life that it looks for. */
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { argumentsFor, commandsIn, firstOutput } from '../../bench/answers.ts';
import { waitingText } from '../../client/cli/waiting.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const at = { cwd: os.tmpdir(), env: { TERM: 'xterm', TEMPORAL_ADDRESS: '127.0.0.1:1' } };

const help = `Usage: temper [options] [command]

Commands:
  up [options]               start the local stack, and wait
                             until all of it is ready
  models                     registered models
  help [command]             display help for command

Examples:
  npx temper quickstart
`;

test('commands are read from the help, without help itself', () => {
  expect(commandsIn(help)).toEqual(['up', 'models']);
  expect(commandsIn('Usage: temper up [options]\n')).toEqual([]);
});

test('arguments fit the usage', () => {
  expect(argumentsFor('Usage: temper init [options] <folder>')).toEqual(['docs']);
  expect(argumentsFor('Usage: temper run [options] [file]')).toEqual(['pipeline.yaml']);
  expect(argumentsFor('Usage: temper chat [options] <endpoint> [question...]')).toEqual([
    'nothing-0000',
  ]);
  expect(argumentsFor('Usage: temper status [options] [run]')).toEqual([]);
});

test('the first output and the first answer are told apart', async () => {
  const program = `process.stdout.write('wait'); setTimeout(() => console.log('\\r\\x1b[Kdone'), 400)`;
  const found = await firstOutput([process.execPath, '-e', program], { ...at, hint: 'wait' });
  expect(found.text).toBe('done');
  expect(found.answerMs! - found.firstMs!).toBeGreaterThan(300);
  const silent = await firstOutput([process.execPath, '-e', '0'], { ...at, hint: 'wait' });
  expect(silent).toEqual({ firstMs: null, answerMs: null, text: '' });
});

test('a command at a terminal gives a sign of life, and takes it away with its first word', async () => {
  const argv = [process.execPath, path.join(projectDir, 'client/cli/main.ts'), 'status'];
  const sign = await firstOutput(argv, { ...at, hint: '' });
  expect(sign.text).toBe(waitingText);
  const answer = await firstOutput(argv, { ...at, hint: waitingText });
  expect(answer.text).toMatch(/^Temporal unreachable at 127\.0\.0\.1:1/);
  expect(answer.firstMs!).toBeLessThan(answer.answerMs!);
  const quiet = await firstOutput([...argv, '--json'], { ...at, hint: '' });
  expect(quiet.text).toMatch(/^\{"error"/);
});
