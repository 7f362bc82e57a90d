/** What holds of every command, by the table of them all. */
import type { Command } from 'commander';
import { describe, expect, test, vi } from 'vitest';
import { requirePossible } from '../../client/cli/recover.ts';
import { temper } from '../../client/cli/program.ts';
import { exitCodeOf } from '../../client/cli/doctor.ts';
import { localStack } from '../../infra/doctor.ts';

/** Every command that does something, with the words that lead to it. */
function leaves(command: Command, before: string[] = []): [string, Command][] {
  return command
    .createHelp()
    .visibleCommands(command)
    .flatMap((child) => {
      const words = [...before, child.name()];
      const doesSomething = child.commands.length === 0 || child.registeredArguments.length > 0;
      return [
        ...(doesSomething ? [[words.join(' '), child] as [string, Command]] : []),
        ...leaves(child, words),
      ];
    });
}

const all = leaves(temper());

test('the table has every command', () => {
  expect(all.length).toBeGreaterThan(45);
  expect(all.map(([words]) => words)).toEqual(
    expect.arrayContaining(['up', 'version', 'budget', 'budget add', 'models pull', 'models help']),
  );
});

test('every command takes --json, except help, which is for people', () => {
  const without = all.filter(
    ([, command]) => !command.options.some(({ long }) => long === '--json'),
  );
  expect(without.map(([words]) => words)).toEqual([
    'datasets help',
    'models help',
    'schedule help',
    'help',
  ]);
});

test('no option is written in camel case', () => {
  const names = all.flatMap(([, command]) => command.options.map(({ long }) => long ?? ''));
  expect(names.filter((name) => !/^--[a-z]+(-[a-z]+)*$/.test(name))).toEqual([]);
});

describe.each([['--version'], ['-V']])('temper %s', (option) => {
  test('prints the version and starts nothing', async () => {
    const said: string[] = [];
    const program = temper().configureOutput({ writeOut: (text) => said.push(text) });
    await expect(program.parseAsync(['node', 'temper', option])).rejects.toMatchObject({
      exitCode: 0,
      code: 'commander.version',
    });
    expect(said.join('')).toMatch(/^temper \d+\.\d+\.\d+(, commit [0-9a-f]{12}.*)?\n$/);
  });
});

test('help of a command, and of one below another, is that command’s', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await temper().parseAsync(['node', 'temper', 'help', 'models', 'show']);
    await temper().parseAsync(['node', 'temper', 'datasets', 'help', 'add']);
    const said = write.mock.calls.map(([text]) => String(text)).join('');
    expect(said).toContain('Usage: temper models show');
    expect(said).toContain('Usage: temper datasets add');
  } finally {
    write.mockRestore();
  }
});

test('a stack that is down and nothing else wrong ends the doctor as every command: with 3', () => {
  const down = { name: localStack, ok: false };
  expect(exitCodeOf([{ name: 'node', ok: true }])).toBe(0);
  expect(exitCodeOf([{ name: 'node', ok: true }, down])).toBe(3);
  expect(exitCodeOf([{ name: 'node', ok: false }, down])).toBe(1);
});

test('what cannot be recovered is refused before a stack is started', () => {
  const nowhere = { baseDir: undefined, s3Data: undefined };
  expect(() => requirePossible('Policy!', nowhere)).toThrow(
    /found "Policy!", expected a name such as policy-7f3a.*Nothing was started\.$/,
  );
  expect(() => requirePossible('policy-7f3a', { ...nowhere, baseDir: '/no/such/folder' })).toThrow(
    /--base-dir: found no folder \/no\/such\/folder/,
  );
  requirePossible('policy-7f3a', nowhere);
});
