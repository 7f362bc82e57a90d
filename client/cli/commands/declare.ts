/** How a command is declared: with --json, with examples, and such that a mistake points to the help that answers it. */
import { Command, InvalidArgumentError } from 'commander';

/** The program itself, whose mistakes are misspelt commands. */
export function root(name: string, description: string): Command {
  return pointing(new Command(name), 'the commands').description(description).exitOverride();
}

/** A word that stands before other commands, such as `datasets`. */
export function group(parent: Command, name: string, description: string): Command {
  return pointing(parent.command(name), 'its commands').description(description);
}

/** A command that does something. */
export function command(parent: Command, name: string, description: string): Command {
  return pointing(parent.command(name), 'its arguments and options')
    .description(description)
    .option('--json', 'print one line of JSON instead of text');
}

function pointing(command: Command, what: string): Command {
  const words: string[] = [];
  for (let one: Command | null = command; one !== null; one = one.parent) words.unshift(one.name());
  return command.showHelpAfterError(`(npx ${words.join(' ')} --help shows ${what})`);
}

/** What stands at the end of a help. */
export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

/** The value of an option that counts. */
export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number.');
}

/** The same, or all of them. */
export function numberOrAll(text: string): number | 'all' {
  return text === 'all' ? 'all' : wholeNumber(text);
}
