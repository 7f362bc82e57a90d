/** `temper init`, `plan` and `run`. */
import type { Command } from 'commander';
import type { InitOptions } from '../init.ts';
import { finish, type CommonOptions } from '../output.ts';
import type { RunOptions } from '../run.ts';
import { command, examples, wholeNumber } from './declare.ts';

/** From documents to a run. */
export function declarePipelines(program: Command): void {
  command(
    program,
    'init',
    'look at a folder of documents and write a pipeline file for it; starts nothing',
  )
    .argument('<folder>', 'the folder; everything in it that is text is read')
    .option('-o, --output <file>', 'pipeline file to write', 'pipeline.yaml')
    .option('--name <name>', 'name of the dataset and the model (default: from the folder)')
    .option(
      '--text-field <field>',
      'field of records and tables that holds the text (default: text, or one that looks like it)',
    )
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
    .action((folder: string, options: InitOptions) =>
      finish(options, async () => (await import('../init.ts')).initCommand(folder, options)),
    );

  command(
    program,
    'plan',
    'print recipe, price, duration and expected loss before anything is spent',
  )
    .argument('[file]', 'pipeline file', 'pipeline.yaml')
    .addHelpText('after', examples('npx temper plan pipeline.yaml'))
    .action((file: string, options: CommonOptions) =>
      finish(options, async () => (await import('../plan.ts')).planCommand(file, options)),
    );

  command(program, 'run', 'run a pipeline and show its progress; Ctrl-C leaves it running')
    .argument('[file]', 'pipeline file', 'pipeline.yaml')
    .option('-d, --detach', 'start it and return')
    .option('--name <run>', 'name of the run (default: name of the pipeline and four hex digits)')
    .option(
      '--seed <number>',
      'instead of the file’s: another seed makes another version',
      wholeNumber,
    )
    .addHelpText(
      'after',
      examples('npx temper run pipeline.yaml', 'npx temper run --detach --json'),
    )
    .action((file: string, options: RunOptions) =>
      finish(options, async () => (await import('../run.ts')).runCommand(file, options)),
    );
}
