/** `temper models …`. */
import type { Command } from 'commander';
import type { PromoteOptions, RollbackOptions } from '../models.ts';
import { finish, type CommonOptions } from '../output.ts';
import { command, examples, group, wholeNumber } from './declare.ts';

/** Models, and which of them is served. */
export function declareModels(program: Command): void {
  const models = group(program, 'models', 'registered models and what is served');

  command(models, 'list', 'every model, its versions and where it is served')
    .addHelpText('after', examples('npx temper models list'))
    .action((options: CommonOptions) =>
      finish(options, async () => (await import('../models.ts')).listCommand(options)),
    );

  command(models, 'show', 'one version: lineage, digests, evaluations')
    .argument('<model>', 'name (its champion), or name@version')
    .addHelpText(
      'after',
      examples('npx temper models show policy', 'npx temper models show policy@2'),
    )
    .action((reference: string, options: CommonOptions) =>
      finish(options, async () => (await import('../models.ts')).showCommand(reference, options)),
    );

  command(models, 'diff', 'two versions side by side: data, recipe, evaluations, digests')
    .argument('<a>', 'name@version')
    .argument('<b>', 'name@version')
    .option('--all', 'show what is equal too')
    .addHelpText('after', examples('npx temper models diff policy@1 policy@2'))
    .action((a: string, b: string, options: CommonOptions & { all?: boolean }) =>
      finish(options, async () => (await import('../models.ts')).diffCommand(a, b, options)),
    );

  command(models, 'promote', 'make a version the champion, and serve it')
    .argument('<model>', 'name@version')
    .option('--endpoint <name>', 'where to serve it (default: wherever the model is served)')
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper models promote policy@2 --why "better tone"'))
    .action((reference: string, options: PromoteOptions) =>
      finish(options, async () =>
        (await import('../models.ts')).promoteCommand(reference, options),
      ),
    );

  command(models, 'pull', 'write a version as a folder that transformers and onnxruntime load')
    .argument('<model>', 'name (its champion), or name@version')
    .argument('[folder]', 'folder to make (default: <name>-<version>)')
    .addHelpText(
      'after',
      examples('npx temper models pull policy@2', 'npx temper models pull policy ./out'),
    )
    .action((reference: string, folder: string | undefined, options: CommonOptions) =>
      finish(options, async () =>
        (await import('../models.ts')).pullCommand(reference, folder, options),
      ),
    );

  command(models, 'rollback', 'make the champion before champion again, and serve it')
    .argument('<model>', 'name of the model')
    .option('--to <version>', 'a certain version', wholeNumber)
    .option('--why <text>', 'reason, for the record')
    .addHelpText('after', examples('npx temper models rollback policy --why "wrong tone"'))
    .action((model: string, options: RollbackOptions) =>
      finish(options, async () => (await import('../models.ts')).rollbackCommand(model, options)),
    );
}
