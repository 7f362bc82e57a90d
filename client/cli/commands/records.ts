/** What is written of a run: `temper report`, `curves`, `ledger`, `compare` and `logs`. */
import type { Command } from 'commander';
import type { CompareOptions } from '../compare.ts';
import type { CurvesOptions } from '../curves.ts';
import type { LogsOptions } from '../logs.ts';
import { finish, type CommonOptions } from '../output.ts';
import type { ReportOptions } from '../report.ts';
import { command, examples, wholeNumber } from './declare.ts';

/** What is known of a run and of the stack. */
export function declareRecords(program: Command): void {
  command(program, 'report', 'everything about one run on one self-contained page')
    .argument('<run>', 'name of a run')
    .option('-o, --output <file>', 'where to write the page (default: <run>.html)')
    .option('-w, --watch', 'write it again until the run ends; an open page follows')
    .addHelpText(
      'after',
      examples(
        'npx temper report policy-7f3a',
        'npx temper report policy-7f3a --watch',
        'npx temper report policy-7f3a --json',
      ),
    )
    .action((run: string, options: ReportOptions) =>
      finish(options, async () => (await import('../report.ts')).reportCommand(run, options)),
    );

  command(
    program,
    'curves',
    'how a run learns: loss, held-out loss, rate, speed; or two runs over each other',
  )
    .argument('<run>', 'name of a run')
    .argument('[other]', 'name of another run')
    .option('-w, --watch', 'stay and draw again until it ends; Ctrl-C leaves it running')
    .option(
      '--tensorboard <folder>',
      'write event files for TensorBoard, too; with --watch, keep up',
    )
    .option('--ascii', 'draw with letters, where the terminal has no Unicode')
    .addHelpText(
      'after',
      examples(
        'npx temper curves policy-7f3a --watch',
        'npx temper curves policy-7f3a policy-11aa',
        'npx temper curves policy-7f3a --tensorboard ./tensorboard',
      ),
    )
    .action((run: string, other: string | undefined, options: CurvesOptions) =>
      finish(options, async () =>
        (await import('../curves.ts')).curvesCommand(run, other, options),
      ),
    );

  command(
    program,
    'ledger',
    'which tokens a run was trained on and how often, with the proof: no gaps, no doubles',
  )
    .argument('<run>', 'name of a run')
    .addHelpText(
      'after',
      examples('npx temper ledger policy-7f3a', 'npx temper ledger policy-7f3a --json'),
    )
    .action((run: string, options: CommonOptions) =>
      finish(options, async () => (await import('../ledger.ts')).ledgerCommand(run, options)),
    );

  command(
    program,
    'compare',
    'two runs side by side: recipe, loss at equal tokens, evaluations, time, digests',
  )
    .argument('<run>', 'name of a run')
    .argument('<other>', 'name of another run')
    .option('--all', 'show what is equal too')
    .option('-o, --output <file>', 'write a page, too, with the losses over each other')
    .addHelpText(
      'after',
      examples(
        'npx temper compare policy-7f3a policy-11aa',
        'npx temper compare policy-7f3a policy-11aa --all',
        'npx temper compare policy-7f3a policy-11aa --output compared.html',
      ),
    )
    .action((run: string, other: string, options: CompareOptions) =>
      finish(options, async () =>
        (await import('../compare.ts')).compareCommand(run, other, options),
      ),
    );

  command(
    program,
    'logs',
    'what the parts of the stack, or those that worked on a run, have written',
  )
    .argument(
      '[name]',
      'a part (s3, temporal, control, data, gpu, serving) or a run; left out, every part',
    )
    .option('-f, --follow', 'stay, and print what is added; Ctrl-C ends it')
    .option('-n, --lines <number>', 'how many of the last lines', wholeNumber, 50)
    .addHelpText(
      'after',
      examples(
        'npx temper logs',
        'npx temper logs gpu -f',
        'npx temper logs policy-7f3a --lines 200',
      ),
    )
    .action((name: string | undefined, options: LogsOptions) =>
      finish(options, async () => (await import('../logs.ts')).logsCommand(name, options)),
    );
}
