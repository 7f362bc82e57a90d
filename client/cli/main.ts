#!/usr/bin/env node
/** The command line: `npx temper <command>`. Commands are loaded when they are used, so that help is instant. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { DiffFlags } from './datasets-diff.ts';
import type { CardFlags, ExportFlags } from './datasets-export.ts';
import type { InspectFlags } from './datasets-inspect.ts';
import { ExitCode, finish, type CommonOptions } from './output.ts';

const program = new Command('temper')
  .description('Your documents in, your own language model out. Kill anything; it finishes.')
  .showHelpAfterError('(npx temper --help shows the commands)')
  .configureHelp({ sortSubcommands: false })
  .exitOverride()
  .addHelpText(
    'after',
    `
Examples:
  npx temper quickstart                 from nothing to an answer, in minutes
  npx temper run pipeline.yaml          train and serve a model of your own text
  npx temper status --json              every run, for a script

Exit codes: 0 done, 1 failed, 2 wrong input, 3 not reachable, 130 Ctrl-C.
TEMPER_HOME names another home folder; TEMPORAL_ADDRESS a remote Temporal service.`,
  );

command('up', 'start the local stack, and wait until all of it is ready')
  .addHelpText('after', examples('npx temper up', 'TEMPER_PORT_BASE=17000 npx temper up'))
  .action((options: CommonOptions) =>
    finish(options, async () => (await import('./stack-commands.ts')).upCommand(options)),
  );

command('down', 'stop the local stack; its data stay')
  .addHelpText('after', examples('npx temper down'))
  .action((options: CommonOptions) =>
    finish(options, async () => (await import('./stack-commands.ts')).downCommand(options)),
  );

command('doctor', 'check everything that a run needs, and say what to do')
  .option('--report', 'print what to attach to a bug report, too, without secrets')
  .addHelpText('after', examples('npx temper doctor', 'npx temper doctor --report'))
  .action((options: CommonOptions & { report?: boolean }) =>
    finish(options, async () => (await import('./doctor.ts')).doctorCommand(options)),
  );

command('init', 'look at a folder of documents and write a pipeline file for it; starts nothing')
  .argument('<folder>', 'the folder; everything in it that is text is read')
  .option('-o, --output <file>', 'pipeline file to write', 'pipeline.yaml')
  .option('--name <name>', 'name of the dataset and the model (default: from the folder)')
  .option('--sample <share>', 'take only a share of the documents, to try the whole way')
  .option('--from <base>', 'adapt a base model: smollm2, ./model.gguf or ./folder')
  .option(
    '--goal <goal>',
    'base, assistant: with questions made from the metadata, or embeddings: to search by (default: base; with --from, adapt)',
  )
  .option('-f, --force', 'overwrite a pipeline file that is there')
  .addHelpText(
    'after',
    examples(
      'npx temper init ./docs',
      'npx temper init ./docs --from smollm2',
      'npx temper init ./docs --sample 1% --output try.yaml',
      'npx temper init ./laws --name policy --goal assistant',
    ),
  )
  .action((folder: string, options: InitFlags) =>
    finish(options, async () => (await import('./init.ts')).initCommand(folder, options)),
  );

command('plan', 'print recipe, price, duration and expected loss before anything is spent')
  .argument('[file]', 'pipeline file', 'pipeline.yaml')
  .addHelpText('after', examples('npx temper plan pipeline.yaml'))
  .action((file: string, options: CommonOptions) =>
    finish(options, async () => (await import('./plan.ts')).planCommand(file, options)),
  );

command('run', 'run a pipeline and show its progress; Ctrl-C leaves it running')
  .argument('[file]', 'pipeline file', 'pipeline.yaml')
  .option('-d, --detach', 'start it and return')
  .option('--name <run>', 'name of the run (default: name of the pipeline and four hex digits)')
  .option(
    '--seed <number>',
    'instead of the file’s: another seed makes another version',
    wholeNumber,
  )
  .addHelpText('after', examples('npx temper run pipeline.yaml', 'npx temper run --detach --json'))
  .action(
    (file: string, options: CommonOptions & { detach?: boolean; name?: string; seed?: number }) =>
      finish(options, async () => (await import('./run.ts')).runCommand(file, options)),
  );

command('status', 'show one run, or all runs and the parts of the stack')
  .argument('[run]', 'name of a run')
  .option('-w, --watch', 'stay until it ends; without a name, the newest run at work')
  .addHelpText('after', examples('npx temper status', 'npx temper status policy-7f3a --watch'))
  .action((run: string | undefined, options: CommonOptions & { watch?: boolean }) =>
    finish(options, async () => (await import('./status.ts')).statusCommand(run, options)),
  );

command('cancel', 'end a run; what it has stored stays')
  .argument('<run>', 'name of a run')
  .option('--reason <text>', 'why, for the record')
  .addHelpText('after', examples('npx temper cancel policy-7f3a --reason "wrong corpus"'))
  .action((run: string, options: CommonOptions & { reason?: string }) =>
    finish(options, async () => (await import('./status.ts')).cancelCommand(run, options)),
  );

command('recover', 'go on with a run from S3 alone, when Temporal’s database is lost')
  .argument('<run>', 'name of a run')
  .option('-d, --detach', 'start it and return')
  .option('--base-dir <folder>', 'folder of the sources (default: where the run found them)')
  .addHelpText(
    'after',
    examples('npx temper recover policy-7f3a', 'npx temper recover policy-7f3a --detach'),
  )
  .action((run: string, options: CommonOptions & { detach?: boolean; baseDir?: string }) =>
    finish(options, async () => (await import('./recover.ts')).recoverCommand(run, options)),
  );

command('approve', 'let a version be served that waits for a person')
  .argument('<reference>', 'name@version of the model, or name of the run that made it')
  .option('--why <text>', 'reason, for the record')
  .addHelpText(
    'after',
    examples('npx temper approve policy@2 --why "reviewed"', 'npx temper approve policy-7f3a'),
  )
  .action((reference: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./orders.ts')).approveCommand(reference, options)),
  );

command('pause', 'make a run stand still: its training saves at the next step and waits')
  .argument('<run>', 'name of a run')
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper pause policy-7f3a --why "the machine is needed"'))
  .action((run: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./orders.ts')).pauseCommand(run, options)),
  );

command('unpause', 'let a paused run go on, to the same bits')
  .argument('<run>', 'name of a run')
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper unpause policy-7f3a'))
  .action((run: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./orders.ts')).unpauseCommand(run, options)),
  );

command('set', 'change a running training: its learning rate')
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
  .action((run: string, assignment: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./orders.ts')).setCommand(run, assignment, options)),
  );

const budgets = command('budget', 'what a run has spent of its budget, and more for it')
  .argument('<run>', 'name of a run')
  .addHelpText(
    'after',
    examples('npx temper budget policy-7f3a', 'npx temper budget add policy-7f3a 30m'),
  )
  .action((run: string, options: CommonOptions) =>
    finish(options, async () => (await import('./budget.ts')).budgetCommand(run, options)),
  );

command('add', 'let a run spend more; one that its budget had ended goes on', budgets)
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
  .action(
    (
      run: string,
      time: string | undefined,
      options: CommonOptions & { why?: string; usd?: string },
    ) => {
      // An option that the command above has as well is read by that one.
      const all = { ...options, ...budgets.opts<CommonOptions>() };
      return finish(all, async () =>
        (await import('./budget.ts')).addBudgetCommand(run, time, all),
      );
    },
  );

command('report', 'everything about one run on one self-contained page')
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
  .action((run: string, options: CommonOptions & { output?: string; watch?: boolean }) =>
    finish(options, async () => (await import('./report.ts')).reportCommand(run, options)),
  );

command('curves', 'how a run learns: loss, held-out loss, rate, speed; or two runs over each other')
  .argument('<run>', 'name of a run')
  .argument('[other]', 'name of another run')
  .option('-w, --watch', 'stay and draw again until it ends; Ctrl-C leaves it running')
  .option('--tensorboard <folder>', 'write event files for TensorBoard, too; with --watch, keep up')
  .option('--ascii', 'draw with letters, where the terminal has no Unicode')
  .addHelpText(
    'after',
    examples(
      'npx temper curves policy-7f3a --watch',
      'npx temper curves policy-7f3a policy-11aa',
      'npx temper curves policy-7f3a --tensorboard ./tensorboard',
    ),
  )
  .action((run: string, other: string | undefined, options: CurvesFlags) =>
    finish(options, async () => (await import('./curves.ts')).curvesCommand(run, other, options)),
  );

command(
  'ledger',
  'which tokens a run was trained on and how often, with the proof: no gaps, no doubles',
)
  .argument('<run>', 'name of a run')
  .addHelpText(
    'after',
    examples('npx temper ledger policy-7f3a', 'npx temper ledger policy-7f3a --json'),
  )
  .action((run: string, options: CommonOptions) =>
    finish(options, async () => (await import('./ledger.ts')).ledgerCommand(run, options)),
  );

command(
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
  .action((run: string, other: string, options: CompareFlags) =>
    finish(options, async () => (await import('./compare.ts')).compareCommand(run, other, options)),
  );

command('logs', 'what the parts of the stack, or those that worked on a run, have written')
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
  .action(
    (name: string | undefined, options: CommonOptions & { follow?: boolean; lines: number }) =>
      finish(options, async () => (await import('./logs.ts')).logsCommand(name, options)),
  );

const datasets = program.command('datasets').description('registered datasets, and what they hold');
command('list', 'every dataset and its newest version', datasets)
  .addHelpText('after', examples('npx temper datasets list'))
  .action((options: CommonOptions) =>
    finish(options, async () => (await import('./datasets.ts')).listCommand(options)),
  );
command('show', 'one version: sources, licences, what was dropped, who was trained on it', datasets)
  .argument('<dataset>', 'name (its newest version), or name@version')
  .addHelpText(
    'after',
    examples('npx temper datasets show policy', 'npx temper datasets show policy@2 --json'),
  )
  .action((reference: string, options: CommonOptions) =>
    finish(options, async () => (await import('./datasets.ts')).showCommand(reference, options)),
  );
command('inspect', 'samples of what was kept and of what was dropped, by reason', datasets)
  .argument('<dataset>', 'name (its newest version), or name@version')
  .option('--dropped', 'only what was dropped')
  .option('--kept', 'only what was kept')
  .option('--reason <reason>', 'only what was dropped for this reason, such as duplicate_near')
  .option(
    '-n, --number <number>',
    'samples of each; with --dropped, all lists every one',
    numberOrAll,
    10,
  )
  .option('--seed <number>', 'another seed shows other samples', wholeNumber, 1)
  .addHelpText(
    'after',
    examples(
      'npx temper datasets inspect policy',
      'npx temper datasets inspect policy@2 --reason duplicate_near --number 20',
      'npx temper datasets inspect policy --dropped --number all --json',
    ),
  )
  .action((reference: string, flags: InspectFlags) =>
    finish(flags, async () =>
      (await import('./datasets-inspect.ts')).inspectCommand(reference, flags),
    ),
  );
command(
  'diff',
  'what one version has that another has not: documents, sources, statistics',
  datasets,
)
  .argument('<dataset>', 'name (its version before the newest), or name@version')
  .argument('[dataset]', 'the version to compare it with (default: the newest)')
  .option(
    '-n, --number <number>',
    'samples of what was added and of what was removed',
    wholeNumber,
    5,
  )
  .option('--seed <number>', 'another seed shows other samples', wholeNumber, 1)
  .addHelpText(
    'after',
    examples(
      'npx temper datasets diff policy',
      'npx temper datasets diff policy@1 policy@2 --json',
    ),
  )
  .action((before: string, after: string | undefined, flags: DiffFlags) =>
    finish(flags, async () =>
      (await import('./datasets-diff.ts')).diffCommand(before, after, flags),
    ),
  );
command('export', 'write a version as a folder that Hugging Face’s datasets loads', datasets)
  .argument('<dataset>', 'name (its newest version), or name@version')
  .argument('<folder>', 'folder to make')
  .addOption(
    new Option('--format <format>', 'packed JSON lines, or Parquet')
      .choices(['jsonl', 'parquet'])
      .default('jsonl'),
  )
  .option('--cleaned', 'the texts as training reads them, not as they were read')
  .addHelpText(
    'after',
    examples(
      'npx temper datasets export policy ./policy-data',
      'npx temper datasets export policy@2 ./policy-clean --cleaned --format parquet',
    ),
  )
  .action((reference: string, folder: string, flags: ExportFlags) =>
    finish(flags, async () =>
      (await import('./datasets-export.ts')).exportCommand(reference, folder, flags),
    ),
  );
command(
  'card',
  'the data card of a version: sources, licences, what was left out, limits',
  datasets,
)
  .argument('<dataset>', 'name (its newest version), or name@version')
  .option('-o, --output <file>', 'where to write it (default: standard output)')
  .addHelpText(
    'after',
    examples(
      'npx temper datasets card policy',
      'npx temper datasets card policy@2 --output card.md',
    ),
  )
  .action((reference: string, flags: CardFlags) =>
    finish(flags, async () => (await import('./datasets-export.ts')).cardCommand(reference, flags)),
  );

command('expire', 'delete the documents whose time is over, now rather than tonight', datasets)
  .option('--dry-run', 'say what would be deleted, and delete nothing')
  .addHelpText(
    'after',
    examples('npx temper datasets expire --dry-run', 'npx temper datasets expire'),
  )
  .action((options: CommonOptions & { dryRun?: boolean }) =>
    finish(options, async () => (await import('./datasets.ts')).expireCommand(options)),
  );
command('add', 'make a dataset of documents, without a training run', datasets)
  .argument('<name>', 'name of the new dataset')
  .argument(
    '<path...>',
    'files or folders; https://… (a page or a sitemap), s3://bucket/prefix, git+./folder',
  )
  .requiredOption('--license <licence>', 'whose text it is, kept in the lineage of every model')
  .option('--include <glob>', 'which files of a folder to read (default: all)')
  .option('--text-field <field>', 'field of a JSON record that holds the text (default: text)')
  .addHelpText(
    'after',
    examples(
      'npx temper datasets add policy ./docs --license internal',
      "npx temper datasets add laws s3://archive/laws --license CC0-1.0 --include '**/*.html'",
    ),
  )
  .action((name: string, places: string[], options: GrowthFlags & { license: string }) =>
    finish(options, async () =>
      (await import('./dataset-growth.ts')).addCommand(name, places, options),
    ),
  );
command('append', 'make the next version: all of the newest, and what is new', datasets)
  .argument('<dataset>', 'name of the dataset')
  .argument(
    '<path...>',
    'files or folders; https://… (a page or a sitemap), s3://bucket/prefix, git+./folder',
  )
  .option('--license <licence>', 'whose text it is (default: that of the dataset, if it has one)')
  .option('--include <glob>', 'which files of a folder to read (default: all)')
  .option('--text-field <field>', 'field of a JSON record that holds the text (default: text)')
  .addHelpText(
    'after',
    examples(
      'npx temper datasets append policy ./docs ./minutes-of-2026',
      'npx temper datasets append policy ./docs --json',
    ),
  )
  .action((name: string, places: string[], options: GrowthFlags) =>
    finish(options, async () =>
      (await import('./dataset-growth.ts')).appendCommand(name, places, options),
    ),
  );

const models = program.command('models').description('registered models and what is served');
command('list', 'every model, its versions and where it is served', models)
  .addHelpText('after', examples('npx temper models list'))
  .action((options: CommonOptions) =>
    finish(options, async () => (await import('./models.ts')).listCommand(options)),
  );
command('show', 'one version: lineage, digests, evaluations', models)
  .argument('<model>', 'name (its champion), or name@version')
  .addHelpText(
    'after',
    examples('npx temper models show policy', 'npx temper models show policy@2'),
  )
  .action((reference: string, options: CommonOptions) =>
    finish(options, async () => (await import('./models.ts')).showCommand(reference, options)),
  );
command('diff', 'two versions side by side: data, recipe, evaluations, digests', models)
  .argument('<a>', 'name@version')
  .argument('<b>', 'name@version')
  .option('--all', 'show what is equal too')
  .addHelpText('after', examples('npx temper models diff policy@1 policy@2'))
  .action((a: string, b: string, options: CommonOptions & { all?: boolean }) =>
    finish(options, async () => (await import('./models.ts')).diffCommand(a, b, options)),
  );
command('promote', 'make a version the champion, and serve it', models)
  .argument('<model>', 'name@version')
  .option('--endpoint <name>', 'where to serve it (default: wherever the model is served)')
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper models promote policy@2 --why "better tone"'))
  .action((reference: string, options: CommonOptions & { endpoint?: string; why?: string }) =>
    finish(options, async () => (await import('./models.ts')).promoteCommand(reference, options)),
  );
command('pull', 'write a version as a folder that transformers and onnxruntime load', models)
  .argument('<model>', 'name (its champion), or name@version')
  .argument('[folder]', 'folder to make (default: <name>-<version>)')
  .addHelpText(
    'after',
    examples('npx temper models pull policy@2', 'npx temper models pull policy ./out'),
  )
  .action((reference: string, folder: string | undefined, options: CommonOptions) =>
    finish(options, async () =>
      (await import('./models.ts')).pullCommand(reference, folder, options),
    ),
  );
command('rollback', 'make the champion before champion again, and serve it', models)
  .argument('<model>', 'name of the model')
  .option('--to <version>', 'a certain version', wholeNumber)
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper models rollback policy --why "wrong tone"'))
  .action((model: string, options: CommonOptions & { to?: number; why?: string }) =>
    finish(options, async () => (await import('./models.ts')).rollbackCommand(model, options)),
  );

const schedules = program
  .command('schedule')
  .description('continued pretraining by the clock, when there is something new');
command('create', 'go on from the champion at the times of a cron expression', schedules)
  .argument('<file>', 'pipeline file')
  .requiredOption('--cron <expression>', 'minute, hour, day of the month, month, day of the week')
  .option('--name <name>', 'name of the schedule (default: name of the pipeline)')
  .option('--timezone <zone>', 'such as UTC or Asia/Taipei (default: that of this machine)')
  .addHelpText(
    'after',
    examples(
      'npx temper schedule create --cron "0 3 * * *" pipeline.yaml',
      'npx temper schedule create --cron "*/30 8-18 * * 1-5" --timezone Asia/Taipei pipeline.yaml',
    ),
  )
  .action((file: string, options: CommonOptions & { cron: string }) =>
    finish(options, async () => (await import('./schedule.ts')).createCommand(file, options)),
  );
command('list', 'every schedule and its next start', schedules)
  .addHelpText('after', examples('npx temper schedule list'))
  .action((options: CommonOptions) =>
    finish(options, async () => (await import('./schedule.ts')).listCommand(options)),
  );
command('show', 'one schedule: its next times, and how the last starts went', schedules)
  .argument('<schedule>', 'name of a schedule')
  .addHelpText('after', examples('npx temper schedule show policy'))
  .action((name: string, options: CommonOptions) =>
    finish(options, async () => (await import('./schedule.ts')).showCommand(name, options)),
  );
command('pause', 'start nothing until it is unpaused', schedules)
  .argument('<schedule>', 'name of a schedule')
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper schedule pause policy --why "moving the documents"'))
  .action((name: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./schedule.ts')).pauseCommand(name, options)),
  );
command('unpause', 'let a paused one start again', schedules)
  .argument('<schedule>', 'name of a schedule')
  .option('--why <text>', 'reason, for the record')
  .addHelpText('after', examples('npx temper schedule unpause policy'))
  .action((name: string, options: CommonOptions & { why?: string }) =>
    finish(options, async () => (await import('./schedule.ts')).unpauseCommand(name, options)),
  );
command('trigger', 'start it now, besides its times', schedules)
  .argument('<schedule>', 'name of a schedule')
  .addHelpText('after', examples('npx temper schedule trigger policy'))
  .action((name: string, options: CommonOptions) =>
    finish(options, async () => (await import('./schedule.ts')).triggerCommand(name, options)),
  );
command('delete', 'remove a schedule; its models stay', schedules)
  .argument('<schedule>', 'name of a schedule')
  .addHelpText('after', examples('npx temper schedule delete policy'))
  .action((name: string, options: CommonOptions) =>
    finish(options, async () => (await import('./schedule.ts')).deleteCommand(name, options)),
  );

command('chat', 'ask a served model one question')
  .argument('<endpoint>', 'name of an endpoint')
  .argument('[question...]', 'the question; left out, standard input')
  .addHelpText('after', examples('npx temper chat sotu "Who gave the address of 1865?"'))
  .action((endpoint: string, words: string[], options: CommonOptions) =>
    finish(options, async () => (await import('./chat.ts')).chatCommand(endpoint, words, options)),
  );

command('completion', 'print what makes a shell complete commands, options and names')
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
      (await import('./completion.ts')).completionCommand(shell, options),
    ),
  );

program
  .command('__complete', { hidden: true })
  .argument('[words...]')
  .action((words: string[]) =>
    finish({}, async () => (await import('./completion.ts')).completeCommand(program, words)),
  );

interface CompareFlags extends CommonOptions {
  all?: boolean;
  output?: string;
}

interface GrowthFlags extends CommonOptions {
  license?: string;
  include?: string;
  textField?: string;
}

interface CurvesFlags extends CommonOptions {
  watch?: boolean;
  ascii?: boolean;
  tensorboard?: string;
}

interface InitFlags extends CommonOptions {
  output: string;
  name?: string;
  sample?: string;
  from?: string;
  goal?: string;
  force?: boolean;
}

interface QuickstartFlags extends CommonOptions {
  pipeline?: string;
  chaos?: boolean;
  seed: number;
  kills: number;
  fresh?: boolean;
}

command('quickstart', 'train, evaluate and serve a small model, then ask it something')
  .option('--pipeline <file>', 'another pipeline file than the quickstart’s')
  .option('--chaos', 'kill processes all along, and compare the bits with an undisturbed run')
  .option('--seed <number>', 'with --chaos: which kills', wholeNumber, 1)
  .option('--kills <number>', 'with --chaos: how many', wholeNumber, 20)
  .option('--fresh', 'with --chaos: make the undisturbed run anew')
  .addHelpText('after', examples('npx temper quickstart', 'npx temper quickstart --chaos --seed 7'))
  .action((flags: QuickstartFlags) =>
    finish(flags, async () => {
      const { quickstartCommand, quickstartPipeline } = await import('./quickstart.ts');
      const options = { ...flags, pipeline: flags.pipeline ?? quickstartPipeline };
      if (flags.chaos !== true) return quickstartCommand(options);
      return (await import('./chaos.ts')).chaosCommand(options);
    }),
  );

function command(name: string, description: string, parent: Command = program): Command {
  return parent
    .command(name)
    .description(description)
    .option('--json', 'print one line of JSON instead of text')
    .exitOverride();
}

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

function numberOrAll(text: string): number | 'all' {
  return text === 'all' ? 'all' : wholeNumber(text);
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number.');
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  const helped = error.exitCode === 0 || error.code === 'commander.help';
  process.exitCode = helped ? ExitCode.ok : ExitCode.wrongInput;
}
