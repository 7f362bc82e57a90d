/** `temper chat`. */
import type { Command } from 'commander';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples } from './declare.ts';

/** A question to a served model. */
export function declareChat(program: Command): void {
  command(program, 'chat', 'ask a served model one question')
    .argument('<endpoint>', 'name of an endpoint')
    .argument('[question...]', 'the question; left out, standard input')
    .addHelpText('after', examples('npx temper chat sotu "Who gave the address of 1865?"'))
    .action((endpoint: string, words: string[], options: CommonOptions) =>
      finish(options, async () =>
        (await import('../chat.ts')).chatCommand(endpoint, words, options),
      ),
    );
}
