/** `temper datasets add|append`: documents into a dataset version, without a training run. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { IngestResult } from '../../config/ingest.ts';
import { sourceSchema, type Source } from '../../config/sources.ts';
import { homeFolder } from '../../infra/layout.ts';
import { newestOf, refuseName, type DatasetGrowing } from '../dataset-growth.ts';
import { ClientError } from '../errors.ts';
import { size } from '../report/words.ts';
import { clientOf, ensureUp, openContext, requireStore, stdoutPaint } from './context.ts';
import { untilInterrupted } from './interrupt.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { count } from './text.ts';

export interface GrowthOptions extends CommonOptions {
  license?: string;
  include?: string;
  textField?: string;
}

export async function addCommand(
  name: string,
  places: readonly string[],
  options: GrowthOptions & { license: string },
): Promise<number> {
  refuseName(name);
  const baseDir = process.cwd();
  const sources = await sourcesOf(places, options, baseDir);
  const client = await clientOf(await ready(options));
  const growing = await client.datasets.add({ name, sources, baseDir });
  return await watchGrowth(name, growing, options);
}

export async function appendCommand(
  name: string,
  places: readonly string[],
  options: GrowthOptions,
): Promise<number> {
  refuseName(name);
  const baseDir = process.cwd();
  // Whether they are there is known before anything is started.
  for (const place of places) await whereOf(place, baseDir, []);
  const context = await ready(options);
  const { sources: known } = await newestOf(context.store, name);
  const license = options.license ?? oneLicense(name, known);
  const sources = await sourcesOf(places, { ...options, license }, baseDir, known);
  const client = await clientOf(context);
  const growing = await client.datasets.append({ name, sources, baseDir });
  return await watchGrowth(name, growing, options);
}

async function ready(options: CommonOptions) {
  const context = await openContext();
  if (context.stack !== null) await ensureUp(homeFolder(process.env), options);
  else await requireStore(context);
  return await openContext();
}

function oneLicense(name: string, known: readonly { license: string }[]): string {
  const licenses = [...new Set(known.map(({ license }) => license))];
  if (licenses.length === 1) return licenses[0]!;
  throw new ClientError(
    'input',
    `--license: found none, expected whose text it is, for ${name} has several licences (${licenses.join(', ')}). Nothing was started.`,
  );
}

/** What the words of a command line mean as sources; `known`: of the dataset, named as they are there. */
export async function sourcesOf(
  places: readonly string[],
  { license, include, textField }: GrowthOptions,
  baseDir: string,
  known: readonly { name: string }[] = [],
): Promise<Source[]> {
  const sources: Source[] = [];
  for (const place of places) {
    const shared = { license, ...(include && { include }), ...(textField && { textField }) };
    const parsed = sourceSchema.safeParse({ ...(await whereOf(place, baseDir, known)), ...shared });
    if (!parsed.success) throw unusable(place);
    sources.push(parsed.data);
  }
  return sources;
}

async function whereOf(place: string, baseDir: string, known: readonly { name: string }[]) {
  if (place.startsWith('https:')) return { url: place };
  if (place.startsWith('s3:')) return { s3: place.replace(/^s3:(\/\/)?/, '') };
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(place)) throw unusable(place);
  const isTree = place.startsWith('git+');
  const given = isTree ? place.slice('git+'.length) : place;
  const resolved = path.resolve(baseDir, given);
  if ((await stat(resolved).catch(() => null)) === null) {
    throw new ClientError(
      'input',
      `PATH: found nothing at ${given}, expected a file or a folder. Nothing was started.`,
    );
  }
  // A document is known by the name of its source, so one folder must not have two.
  const same = known.find(({ name }) => path.resolve(baseDir, name) === resolved)?.name;
  const name = same ?? spelled(resolved, baseDir);
  return isTree ? { git: name } : { path: name };
}

/** `./docs`, whether it was written as docs, docs/ or ./docs; one outside of this folder by its whole path. */
function spelled(resolved: string, baseDir: string): string {
  const relative = path.relative(baseDir, resolved);
  if (relative === '') return '.';
  return relative.startsWith('..') ? resolved : `./${relative}`;
}

function unusable(place: string): ClientError {
  return new ClientError(
    'input',
    `PATH: found ${JSON.stringify(place)}, expected a file or folder, https://example.org/sitemap.xml, s3://bucket/prefix, or git+./folder. Nothing was started.`,
  );
}

async function watchGrowth(
  name: string,
  { workflowId, result }: DatasetGrowing,
  options: CommonOptions,
): Promise<number> {
  say(options, `reading documents into ${name}   (Ctrl-C leaves it at work)`);
  const sentence = `Interrupted: ${workflowId} goes on by itself. What comes of it: npx temper datasets show ${name}`;
  const made = await untilInterrupted(sentence, result);
  if (options.json === true) printJson({ workflowId, ...made });
  for (const line of growthLines(made)) say(options, line);
  return ExitCode.ok;
}

/** E.g. `policy@2: 12 documents more than version 1; 3 were there already`. */
function describeGrowth({ dataset, growth }: IngestResult): string {
  const named = `${dataset.name}@${dataset.version}`;
  if (growth === undefined) return named;
  const { from, numNew, numKnown } = growth;
  if (from === null) return `${named}: ${documents(numNew)}`;
  const known = `${documents(numKnown)} ${numKnown === 1 ? 'was' : 'were'} there already`;
  if (numNew === 0) return `${named}: nothing new; ${known}`;
  return `${named}: ${documents(numNew)} more than version ${from}${numKnown === 0 ? '' : `; ${known}`}`;
}

function documents(number: number): string {
  return `${count(number)} document${number === 1 ? '' : 's'}`;
}

/** What became of the dataset, for people. */
export function growthLines(made: IngestResult): string[] {
  const { dataset, numDocuments, bytes, dropped, growth } = made;
  const { name, version } = dataset;
  const unread = Object.values(dropped).reduce((sum, number) => sum + number, 0);
  const lines = [
    `${stdoutPaint()('green', '✓')} ${describeGrowth(made)}`,
    `  in all ${count(numDocuments)} documents, ${size(bytes)} of text${unread === 0 ? '' : `; ${count(unread)} files or records were not read`}`,
  ];
  if (growth !== undefined && growth.from !== null && growth.numNew > 0) {
    lines.push(
      `  ${count(growth.numShardsReused)} of ${count(growth.numShards)} shards are those of ${name}@${growth.from} (${size(growth.bytesReused)}); ${size(growth.bytesWritten)} were written`,
    );
  }
  lines.push(`  look at it:   npx temper datasets show ${name}@${version}`);
  lines.push(`  train on it:  data: { dataset: ${name} } in a pipeline file`);
  return lines;
}
