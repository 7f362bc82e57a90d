/** `temper completion`, and what its scripts ask. */
import type { Command } from 'commander';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples } from './declare.ts';

/** What a shell completes commands with. */
export function declareCompletion(program: Command): void {
  command(program, 'completion', 'print what makes a shell complete commands, options and names')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      examples(
        'source <(npx temper completion bash)',
        'npx temper completion bash >> ~/.bashrc',
        'npx temper completion zsh >> ~/.zshrc',
      ),
    )
    .action((shell: string, options: CommonOptions) =>
      finish(options, async () =>
        (await import('../completion.ts')).completionCommand(shell, options),
      ),
    );

  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action((words: string[]) =>
      finish({}, async () => (await import('../completion.ts')).completeCommand(program, words)),
    );
}
