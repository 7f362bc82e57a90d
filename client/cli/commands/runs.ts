/** What a person asks of a run: `temper status`, `cancel`, `recover`, `approve`, `pause`, `unpause` and `set`. */
import type { Command } from 'commander';
import type { OrderOptions } from '../orders.ts';
import { finish, type CommonOptions } from '../output.ts';
import type { RecoverOptions } from '../recover.ts';
import type { StatusOptions } from '../status.ts';
import { command, examples } from './declare.ts';

/** Questions and orders to a run. */
export function declareRuns(program: Command): void {
  command(program, 'status', 'show one run, or all runs and the parts of the stack')
    .argument('[run]', 'name of a run')
    .option('-w, --watch', 'stay until it ends; without a name, the newest run at work')
    .addHelpText('after', examples('npx temper status', 'npx temper status policy-7f3a --watch'))
    .action((run: string | undefined, options: StatusOptions) =>
      finish(options, async () => (await import('../status.ts')).statusCommand(run, options)),
    );

  command(program, 'cancel', 'end a run; what it has stored stays')
    .argument('<run>', 'name of a run')
    .option('--reason <text>', 'why, for the record')
    .addHelpText('after', examples('npx temper cancel policy-7f3a --reason "wrong corpus"'))
    .action((run: string, options: CommonOptions & { reason?: string }) =>
      finish(options, async () => (await import('../status.ts')).cancelCommand(run, options)),
    );

  command(program, 'recover', 'go on with a run from S3 alone, when Temporal’s database is lost')
    .argument('<run>', 'name of a run')
    .option('-d, --detach', 'start it and return')
    .option('--base-dir <folder>', 'folder of the sources (default: where the run found them)')
    .addHelpText(
      'after',
      examples('npx temper recover policy-7f3a', 'npx temper recover policy-7f3a --detach'),
    )
    .action((run: string, options: RecoverOptions) =>
      finish(options, async () => (await import('../recover.ts')).recoverCommand(run, options)),
    );

  command(program, 'approve', 'let a version be served that waits for a person')
    .argument('<reference>', 'name@version of the model, or name of the run that made it')
    .option('--why <text>', 'reason, for the record')
    .addHelpText(
      'after',
      examples('npx temper approve policy@2 --why "reviewed"', 'npx temper approve policy-7f3a'),
    )
    .action((reference: string, options: OrderOptions) =>
      finish(options, async () =>
        (await import('../orders.ts')).approveCommand(reference, options),
      ),
    );

  command(program, 'pause', 'make a run stand still: its training saves at the next step and waits')
    .argument('<run>', 'name of a run')
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper pause policy-7f3a --why "the machine is needed"'))
    .action((run: string, options: OrderOptions) =>
      finish(options, async () => (await import('../orders.ts')).pauseCommand(run, options)),
    );

  command(program, 'unpause', 'let a paused run go on, to the same bits')
    .argument('<run>', 'name of a run')
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper unpause policy-7f3a'))
    .action((run: string, options: OrderOptions) =>
      finish(options, async () => (await import('../orders.ts')).unpauseCommand(run, options)),
    );

  command(program, 'set', 'change a running training: its learning rate')
    .argument('<run>', 'name of a run')
    .argument('<assignment>', 'lr=0.5x, of the planned rate; or lr=3e-4, the peak itself')
    .option('--why <text>', 'reason, for the record')
    .addHelpText(
      'after',
      examples(
        'npx temper set policy-7f3a lr=0.5x --why "the loss jumps"',
        'npx temper set policy-7f3a lr=3e-4',
      ),
    )
    .action((run: string, assignment: string, options: OrderOptions) =>
      finish(options, async () =>
        (await import('../orders.ts')).setCommand(run, assignment, options),
      ),
    );
}
