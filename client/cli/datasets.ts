/** `temper datasets list|show`. */
import { describeDataset, summariseDatasets } from '../datasets.ts';
import { size } from '../report/words.ts';
import { openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { count, plain, table } from './text.ts';
import { distributionLines } from './datasets-statistics.ts';

export async function listCommand(options: CommonOptions): Promise<number> {
  const { store } = await openContext();
  const datasets = await summariseDatasets(store);
  if (options.json === true) printJson({ datasets });
  if (datasets.length === 0)
    say(options, 'No datasets yet: npx temper run pipeline.yaml makes one');
  const rows = datasets.map((dataset) => [
    dataset.name,
    dataset.versions.join(', '),
    count(dataset.numDocuments),
    size(dataset.bytes),
    count(dataset.numDropped),
    dataset.licenses.map(plain).join(', '),
  ]);
  if (rows.length > 0) {
    const header = ['dataset', 'versions', 'documents', 'text', 'not read', 'licences'];
    for (const line of table(header, rows)) say(options, line);
  }
  return ExitCode.ok;
}

export async function showCommand(reference: string, options: CommonOptions): Promise<number> {
  const { store } = await openContext();
  const details = await describeDataset(store, reference);
  if (options.json === true) printJson(details);
  const { dataset, versions, dropped, models, cleaned } = details;
  const others = versions.filter((version) => version !== dataset.version);
  say(options, stdoutPaint()('bold', `${dataset.name}@${dataset.version}`));
  const facts = [
    ['digest', `sha256:${dataset.digest}`],
    ['documents', `${count(dataset.numDocuments)}, ${size(dataset.bytes)} of text`],
    ['other versions', others.length === 0 ? 'none' : others.join(', ')],
    [
      'models',
      models.length === 0
        ? 'none'
        : models.map(({ name, version, run }) => `${name}@${version} (run ${run})`).join(', '),
    ],
  ];
  for (const line of table(['', ''], facts).slice(1)) say(options, `  ${line}`);
  say(options);
  const sources = dataset.sources.map((source) => [
    plain(source.name),
    plain(source.license),
    count(source.numDocuments),
    size(source.bytes),
  ]);
  for (const line of table(['source', 'licence', 'documents', 'text'], sources))
    say(options, `  ${line}`);
  for (const { reason, count: number, samples } of dropped) {
    say(options);
    say(options, `  not read: ${number} ${reason.replaceAll('_', ' ')}`);
    for (const { source, detail } of samples)
      say(options, `    ${plain(source)}: ${plain(detail)}`);
    if (number > samples.length) say(options, `    and ${number - samples.length} more`);
  }
  if (dataset.distributions !== undefined) {
    say(options);
    for (const line of distributionLines(dataset.distributions).slice(0, -1))
      say(options, `  ${line}`.trimEnd());
  }
  if (cleaned !== null) {
    const steps = Object.entries(cleaned).map(([step, number]) => [step, count(number)]);
    say(options);
    for (const line of table(['step of data.clean', 'documents changed or dropped'], steps))
      say(options, `  ${line}`);
  }
  say(options);
  say(
    options,
    `  What was kept and dropped: npx temper datasets inspect ${dataset.name}@${dataset.version}`,
  );
  return ExitCode.ok;
}
