/** `temper budget` and `temper budget add`. */
import type { Command } from 'commander';
import { nearest } from '../../nearest.ts';
import type { AddOptions } from '../budget.ts';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples } from './declare.ts';

/** What a run has spent, and more for it. */
export function declareBudget(program: Command): void {
  const budgets = command(program, 'budget', 'what a run has spent of its budget, and more for it')
    .argument('<run>', 'name of a run')
    .addHelpText(
      'after',
      examples('npx temper budget policy-7f3a', 'npx temper budget add policy-7f3a 30m'),
    )
    .action((run: string, options: CommonOptions, { args }: Command) => {
      if (args.length > 1) refuse(budgets, run, args.length);
      return finish(options, async () =>
        (await import('../budget.ts')).budgetCommand(run, options),
      );
    });

  command(budgets, 'add', 'let a run spend more; one that its budget had ended goes on')
    .argument('<run>', 'name of a run')
    .argument('[time]', 'machine time, such as 30m')
    .option('--usd <dollars>', 'dollars more, by the price in the pipeline file')
    .option('--why <text>', 'reason, for the record')
    .addHelpText(
      'after',
      examples(
        'npx temper budget add policy-7f3a 30m --why "the loss still falls"',
        'npx temper budget add policy-7f3a --usd 5',
      ),
    )
    .action((run: string, time: string | undefined, options: AddOptions) => {
      // An option that the command above has as well is read by that one.
      const all = { ...options, ...budgets.opts<CommonOptions>() };
      return finish(all, async () =>
        (await import('../budget.ts')).addBudgetCommand(run, time, all),
      );
    });

  // After what is below it, which would inherit it: what is too many may be a misspelt `add`.
  budgets.allowExcessArguments();
}

function refuse(budgets: Command, first: string, numWords: number): never {
  const meant = nearest(
    first,
    budgets.commands.map((one) => one.name()),
  );
  budgets.error(
    meant === null
      ? `error: too many arguments for 'budget'. Expected 1 argument but got ${numWords}.`
      : `error: unknown command '${first}'\n(Did you mean ${meant}?)`,
  );
}
