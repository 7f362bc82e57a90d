/** `temper datasets list|show|expire`. */
import type { RetentionReport } from '../../config/retention.ts';
import { describeDataset, summariseDatasets, type DatasetDetails } from '../datasets.ts';
import { compressionTable, referenceSentence } from '../report/render-compression.ts';
import { wishText } from '../report/render-mixture.ts';
import { percent, size } from '../report/words.ts';
import { clientOf, openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { count, plain, table } from './text.ts';
import { distributionLines } from './datasets-statistics.ts';

export async function listCommand(options: CommonOptions): Promise<number> {
  const { store } = await openContext();
  const datasets = await summariseDatasets(store);
  if (options.json === true) printJson({ datasets });
  if (datasets.length === 0)
    say(
      options,
      'No datasets yet: npx temper run pipeline.yaml makes one, and so does npx temper datasets add',
    );
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
  const { dataset, versions, dropped, models, cleaned, expiry, encrypted } = details;
  const { mixture, compression } = details;
  const others = versions.filter((version) => version !== dataset.version);
  say(options, stdoutPaint()('bold', `${dataset.name}@${dataset.version}`));
  const facts = [
    ['digest', `sha256:${dataset.digest}`],
    ['documents', `${count(dataset.numDocuments)}, ${size(dataset.bytes)} of text`],
    ...(expiry === null ? [] : [['kept until', untilWhen(expiry)]]),
    ...(encrypted === null ? [] : [['encrypted', `with data key ${encrypted}`]]),
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
    for (const line of table(['step of cleaning', 'documents changed or dropped'], steps))
      say(options, `  ${line}`);
  }
  if (mixture !== undefined) {
    const all = mixture.sources.reduce((sum, { epoch }) => sum + epoch.numTokens, 0);
    const mixed = mixture.sources.map(({ source, weight, repeat, used, epoch }) => [
      plain(source),
      wishText({ weight, repeat }),
      count(epoch.numTokens),
      percent(epoch.numTokens / Math.max(1, all)),
      (epoch.numTokens / Math.max(1, used.numTokens)).toFixed(2),
    ]);
    say(options);
    for (const line of table(['an epoch reads', 'asked for', 'tokens', 'share', 'times'], mixed))
      say(options, `  ${line}`);
  }
  if (compression !== undefined) {
    const { header, rows } = compressionTable(compression);
    say(options);
    for (const line of table(header, rows)) say(options, `  ${line}`);
    say(options, `  ${referenceSentence(compression)}`);
  }
  say(options);
  say(
    options,
    `  What was kept and dropped: npx temper datasets inspect ${dataset.name}@${dataset.version}`,
  );
  return ExitCode.ok;
}

/** Deletes what has expired, now rather than with the sweep of the day. */
export async function expireCommand(
  options: CommonOptions & { dryRun?: boolean },
): Promise<number> {
  const { dryRun = false } = options;
  const temper = await clientOf(await openContext());
  try {
    const report = await temper.expireDatasets({ dryRun });
    if (options.json === true) printJson({ dryRun, ...report });
    for (const line of expiryLines(report, dryRun)) say(options, line);
  } finally {
    await temper.close();
  }
  return ExitCode.ok;
}

/** What a sweep did, or would do. */
export function expiryLines(report: RetentionReport, dryRun: boolean): string[] {
  const { expired, held, waitsFor, numBlobs, numUnregistered, numShared, bytes } = report;
  const names = (versions: RetentionReport['expired']) =>
    versions.map(({ name, version }) => `${name}@${version}`).join(', ');
  const lines: string[] = [];
  if (expired.length > 0) {
    const verb = dryRun ? 'would expire' : 'expired';
    lines.push(`${names(expired)} ${verb}: ${count(numBlobs)} objects, ${size(bytes)}`);
  }
  if (numUnregistered > 0) {
    const own = `${count(numUnregistered)} objects of readings that became no version`;
    const rest =
      expired.length > 0 ? ' among them' : ` ${dryRun ? 'would go' : 'deleted'}, ${size(bytes)}`;
    lines.push(`${own}${rest}`);
  }
  if (numShared > 0) lines.push(`${count(numShared)} objects stay: others hold them too`);
  if (held.length > 0) lines.push(`${names(held)} waits: a run at work has read it`);
  if (waitsFor.length > 0) {
    lines.push(
      `Nothing more is deleted while documents are read or prepared: ${waitsFor.join(', ')}`,
    );
  }
  return lines.length > 0 ? lines : ['Nothing has expired.'];
}

function untilWhen({ expiresAt, expired }: NonNullable<DatasetDetails['expiry']>): string {
  const time = `${expiresAt.slice(0, 16).replace('T', ' ')} UTC`;
  return expired ? `${time}: its documents are deleted` : time;
}
