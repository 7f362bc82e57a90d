/** `temper datasets …`. */
import { Option, type Command } from 'commander';
import type { GrowthOptions } from '../dataset-growth.ts';
import type { DiffFlags } from '../datasets-diff.ts';
import type { CardFlags, ExportFlags } from '../datasets-export.ts';
import type { InspectFlags } from '../datasets-inspect.ts';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples, group, numberOrAll, wholeNumber } from './declare.ts';

/** Datasets, and what can be done with them. */
export function declareDatasets(program: Command): void {
  const datasets = group(program, 'datasets', 'registered datasets, and what they hold');

  command(datasets, 'list', 'every dataset and its newest version')
    .addHelpText('after', examples('npx temper datasets list'))
    .action((options: CommonOptions) =>
      finish(options, async () => (await import('../datasets.ts')).listCommand(options)),
    );

  command(
    datasets,
    'show',
    'one version: sources, licences, what was dropped, who was trained on it',
  )
    .argument('<dataset>', 'name (its newest version), or name@version')
    .addHelpText(
      'after',
      examples('npx temper datasets show policy', 'npx temper datasets show policy@2 --json'),
    )
    .action((reference: string, options: CommonOptions) =>
      finish(options, async () => (await import('../datasets.ts')).showCommand(reference, options)),
    );

  command(datasets, 'inspect', 'samples of what was kept and of what was dropped, by reason')
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
        (await import('../datasets-inspect.ts')).inspectCommand(reference, flags),
      ),
    );

  command(
    datasets,
    'diff',
    'what one version has that another has not: documents, sources, statistics',
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
        (await import('../datasets-diff.ts')).diffCommand(before, after, flags),
      ),
    );

  command(datasets, 'export', 'write a version as a folder that Hugging Face’s datasets loads')
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
        (await import('../datasets-export.ts')).exportCommand(reference, folder, flags),
      ),
    );

  command(
    datasets,
    'card',
    'the data card of a version: sources, licences, what was left out, limits',
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
      finish(flags, async () =>
        (await import('../datasets-export.ts')).cardCommand(reference, flags),
      ),
    );

  command(datasets, 'expire', 'delete the documents whose time is over, now rather than tonight')
    .option('--dry-run', 'say what would be deleted, and delete nothing')
    .addHelpText(
      'after',
      examples('npx temper datasets expire --dry-run', 'npx temper datasets expire'),
    )
    .action((options: CommonOptions & { dryRun?: boolean }) =>
      finish(options, async () => (await import('../datasets.ts')).expireCommand(options)),
    );

  command(datasets, 'add', 'make a dataset of documents, without a training run')
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
    .action((name: string, places: string[], options: GrowthOptions & { license: string }) =>
      finish(options, async () =>
        (await import('../dataset-growth.ts')).addCommand(name, places, options),
      ),
    );

  command(datasets, 'append', 'make the next version: all of the newest, and what is new')
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
    .action((name: string, places: string[], options: GrowthOptions) =>
      finish(options, async () =>
        (await import('../dataset-growth.ts')).appendCommand(name, places, options),
      ),
    );
}
