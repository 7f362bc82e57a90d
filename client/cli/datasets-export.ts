/** `temper datasets export` and `temper datasets card`. */
import { writeFile } from 'node:fs/promises';
import { newestCorpus } from '../../registry/corpora.ts';
import { dataCard } from '../datasets/card.ts';
import { exportDataset } from '../datasets/export.ts';
import type { ExportFormat } from '../datasets/export-files.ts';
import { ClientError } from '../errors.ts';
import { findDataset } from '../find-dataset.ts';
import { plural, size } from '../report/words.ts';
import { openContext } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';

export interface ExportFlags extends CommonOptions {
  format: ExportFormat;
  cleaned?: boolean;
}

export async function exportCommand(
  reference: string,
  folder: string,
  flags: ExportFlags,
): Promise<number> {
  const { store } = await openContext();
  const { format, cleaned = false } = flags;
  const exported = await exportDataset(store, { reference, folder, format, cleaned });
  if (flags.json === true) printJson(exported);
  const bytes = exported.files.reduce((sum, file) => sum + file.bytes, 0);
  const what = `${plural(exported.numDocuments, 'document')} in ${plural(exported.files.length, 'file')}, ${size(bytes)}`;
  say(flags, exported.reused ? `There already, the same: ${what}` : `Written: ${what}`);
  say(
    flags,
    `  ${plural(exported.numDropped, 'dropped document')} in dropped.jsonl, the data card in README.md`,
  );
  for (const note of exported.notes) say(flags, `  ${note}`);
  if (!cleaned)
    say(
      flags,
      '  These are the documents as they were read, with whatever personal data they hold.',
    );
  const needs =
    format === 'jsonl' ? '   # datasets reads packed lines where zstandard is installed' : '';
  say(flags, `  datasets.load_dataset(${JSON.stringify(exported.folder)})${needs}`);
  return ExitCode.ok;
}

export interface CardFlags extends CommonOptions {
  output?: string;
}

export async function cardCommand(reference: string, flags: CardFlags): Promise<number> {
  const { store } = await openContext();
  const dataset = await findDataset(store, reference);
  const corpus = await newestCorpus(store, dataset);
  const card = dataCard({ dataset, corpus });
  const { name, version, digest } = dataset;
  if (flags.output !== undefined) {
    await writeFile(flags.output, card).catch((error: NodeJS.ErrnoException) => {
      throw new ClientError(
        'input',
        `--output: cannot write ${flags.output} (${error.code}). Name a file in a folder that exists and is yours.`,
        error,
      );
    });
    say(flags, flags.output);
  } else if (flags.json !== true) process.stdout.write(card);
  if (flags.json === true)
    printJson({ dataset: { name, version, digest }, corpus: corpus?.stage ?? null, card });
  return ExitCode.ok;
}
