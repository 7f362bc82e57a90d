/** `temper quickstart`, undisturbed or with `--chaos`. */
import type { Command } from 'commander';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples, wholeNumber } from './declare.ts';

interface QuickstartFlags extends CommonOptions {
  pipeline?: string;
  chaos?: boolean;
  seed: number;
  kills: number;
  fresh?: boolean;
}

/** The shortest way from nothing to an answer. */
export function declareQuickstart(program: Command): void {
  command(program, 'quickstart', 'train, evaluate and serve a small model, then ask it something')
    .option('--pipeline <file>', 'another pipeline file than the quickstart’s')
    .option('--chaos', 'kill processes all along, and compare the bits with an undisturbed run')
    .option('--seed <number>', 'with --chaos: which kills', wholeNumber, 1)
    .option('--kills <number>', 'with --chaos: how many', wholeNumber, 20)
    .option('--fresh', 'with --chaos: make the undisturbed run anew')
    .addHelpText(
      'after',
      examples('npx temper quickstart', 'npx temper quickstart --chaos --seed 7'),
    )
    .action((flags: QuickstartFlags) =>
      finish(flags, async () => {
        const { quickstartCommand, quickstartPipeline } = await import('../quickstart.ts');
        const options = { ...flags, pipeline: flags.pipeline ?? quickstartPipeline };
        if (flags.chaos !== true) return quickstartCommand(options);
        return (await import('../chaos.ts')).chaosCommand(options);
      }),
    );
}
