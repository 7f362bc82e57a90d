/** `temper help`, `temper version` and `--version`: what they print needs nothing loaded but the commands themselves. */
import { CommanderError, type Command } from 'commander';
import { describeVersion, versionWords } from '../../../infra/version.ts';
import { nearest } from '../../nearest.ts';
import { ExitCode, finish, printJson, say, type CommonOptions } from '../output.ts';
import { command, examples } from './declare.ts';

/** Which Temper this is, as a command and as the option that people try first. */
export function declareVersion(program: Command): void {
  command(program, 'version', 'print the version and, in a checkout, the commit')
    .addHelpText('after', examples('npx temper version', 'npx temper version --json'))
    .action((options: CommonOptions) =>
      finish(options, async () => {
        const found = describeVersion();
        if (options.json === true) printJson(found);
        say(options, `temper ${versionWords(found)}`);
        return ExitCode.ok;
      }),
    );

  program.option('-V, --version', 'print the version');
  program.on('option:version', () => {
    program.configureOutput().writeOut?.(`temper ${versionWords(describeVersion())}\n`);
    throw new CommanderError(0, 'commander.version', 'version');
  });
}

/** `help`, of the program and of each word that stands before other commands. Last, for it looks at all that are there. */
export function declareHelp(program: Command): void {
  for (const parent of [program, ...program.commands.filter(isGroup)]) {
    // The library's own takes a word that it does not know for none.
    parent
      .helpCommand(false)
      .command('help')
      .description('print the help of a command')
      .argument('[command...]', 'name of a command')
      .action((words: string[]) => helpOf(parent, words).outputHelp());
  }
}

/** One that only stands before others; `budget` does something by itself. */
function isGroup(command: Command): boolean {
  return command.commands.length > 0 && command.registeredArguments.length === 0;
}

function helpOf(parent: Command, words: readonly string[]): Command {
  let found = parent;
  for (const word of words) {
    const children = found.createHelp().visibleCommands(found);
    const child = children.find((one) => one.name() === word);
    if (child === undefined) {
      const near = nearest(
        word,
        children.map((one) => one.name()),
      );
      const hint = near === null ? '' : `\n(Did you mean ${near}?)`;
      return found.error(`error: unknown command '${word}'${hint}`);
    }
    found = child;
  }
  return found;
}
