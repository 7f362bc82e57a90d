/** What the command line answers to words that it does not understand: the word that was meant, and the help that tells it. */
import { CommanderError, type Command } from 'commander';
import { expect, test } from 'vitest';
import { temper } from '../../client/cli/program.ts';

/** All that is said against these words, in lines. */
async function saidAgainst(words: string): Promise<string[]> {
  const said: string[] = [];
  const program = temper();
  const hear = (command: Command) => {
    command.configureOutput({ writeErr: (text) => said.push(text) });
    command.commands.forEach(hear);
  };
  hear(program);
  const ended = program.parseAsync(['node', 'temper', ...words.split(' ')]);
  await expect(ended).rejects.toThrow(CommanderError);
  return said.join('').trimEnd().split('\n');
}

const all = '(npx temper --help shows the commands)';
const those = (group: string) => `(npx temper ${group} --help shows its commands)`;
const its = (command: string) => `(npx temper ${command} --help shows its arguments and options)`;

test.each([
  ['runs --bogus', "error: unknown command 'runs'", '(Did you mean run?)', all],
  ['--bogus', "error: unknown option '--bogus'", all],
  ['run --detatch', "error: unknown option '--detatch'", '(Did you mean --detach?)', its('run')],
  ['datasets shwo x', "error: unknown command 'shwo'", '(Did you mean show?)', those('datasets')],
  ['models --bogus', "error: unknown option '--bogus'", those('models')],
  ['datasets show --bogus', "error: unknown option '--bogus'", its('datasets show')],
  [
    'schedule list --jsno',
    "error: unknown option '--jsno'",
    '(Did you mean --json?)',
    its('schedule list'),
  ],
  ['models diff a', "error: missing required argument 'b'", its('models diff')],
  [
    'models show a b',
    "error: too many arguments for 'show'. Expected 1 argument but got 2.",
    its('models show'),
  ],
  [
    'schedule create p.yaml',
    "error: required option '--cron <expression>' not specified",
    its('schedule create'),
  ],
  [
    'models rollback a --to b',
    "error: option '--to <version>' argument 'b' is invalid. Expected a whole number.",
    its('models rollback'),
  ],
  ['budget ad policy', "error: unknown command 'ad'", '(Did you mean add?)', its('budget')],
  [
    'budget policy laws',
    "error: too many arguments for 'budget'. Expected 1 argument but got 2.",
    its('budget'),
  ],
  [
    'budget add a 1m b',
    "error: too many arguments for 'add'. Expected 2 arguments but got 3.",
    its('budget add'),
  ],
  ['help nothing', "error: unknown command 'nothing'", all],
  ['help statsu', "error: unknown command 'statsu'", '(Did you mean status?)', all],
  ['help models shwo', "error: unknown command 'shwo'", '(Did you mean show?)', those('models')],
  ['models help shwo', "error: unknown command 'shwo'", '(Did you mean show?)', those('models')],
])('%s is answered with the help that tells it', async (words, ...expected) => {
  expect(await saidAgainst(words)).toEqual(expected);
});
