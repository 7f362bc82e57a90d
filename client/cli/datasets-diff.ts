/** `temper datasets diff`: what a version has that another has not, by documents, sources and statistics. */
import type { Distributions } from '../../config/statistics.ts';
import {
  diffDatasets,
  type ChangedSample,
  type ChangedSource,
  type DatasetDiff,
} from '../datasets/diff.ts';
import { plural, size, words } from '../report/words.ts';
import { openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { count, plain, table } from './text.ts';

export interface DiffFlags extends CommonOptions {
  number: number;
  seed: number;
}

export async function diffCommand(
  before: string,
  after: string | undefined,
  flags: DiffFlags,
): Promise<number> {
  const { store } = await openContext();
  const { number, seed } = flags;
  const diff = await diffDatasets(store, {
    before,
    number,
    seed,
    ...(after !== undefined && { after }),
  });
  if (flags.json === true) printJson(diff);
  else sayDiff(diff, flags);
  return ExitCode.ok;
}

function sayDiff(diff: DatasetDiff, flags: DiffFlags): void {
  const { added, removed, numKept, sources } = diff;
  const [one, other] = [diff.before, diff.after].map(({ name, version }) => `${name}@${version}`);
  say(flags, stdoutPaint()('bold', `${one} → ${other}`));
  const rows = [
    ['in both', count(numKept), ''],
    [`only in ${other}`, count(added.numDocuments), size(added.bytes)],
    [`only in ${one}`, count(removed.numDocuments), size(removed.bytes)],
  ];
  for (const line of table(['', 'documents', 'text'], rows)) say(flags, `  ${line}`);
  say(flags);
  const header = ['source', 'licence', `in ${one}`, `in ${other}`, 'text'];
  for (const line of table(header, sources.map(sourceRow))) say(flags, `  ${line}`);
  const figures = figureRows(diff.before.distributions, diff.after.distributions);
  if (figures.length > 0) {
    say(flags);
    for (const line of table(['documents', one!, other!], figures)) say(flags, `  ${line}`);
  }
  saySamples(`only in ${other}`, added, flags);
  saySamples(`only in ${one}`, removed, flags);
}

function sourceRow({ name, before, after }: ChangedSource): string[] {
  const licenses = new Set(
    [before, after].flatMap((side) => (side === null ? [] : [side.license])),
  );
  const bytes = (after?.bytes ?? 0) - (before?.bytes ?? 0);
  const sign = bytes > 0 ? '+' : '-';
  return [
    plain(name),
    [...licenses].map(plain).join(' → '),
    before === null ? '–' : count(before.numDocuments),
    after === null ? '–' : count(after.numDocuments),
    bytes === 0 ? 'the same' : `${sign}${size(Math.abs(bytes))}`,
  ];
}

/** Languages and lengths side by side; those that have not changed are left out. */
function figureRows(before: Distributions | null, after: Distributions | null): string[][] {
  if (before === null || after === null) return [];
  const pair = (name: string, one = 0, other = 0): string[][] =>
    one === other ? [] : [[name, count(one), count(other)]];
  const languages = new Set([...Object.keys(before.languages), ...Object.keys(after.languages)]);
  const starts = new Set([...before.lengths, ...after.lengths].map(({ from }) => from));
  const numberOf = ({ lengths }: Distributions, wanted: number): number =>
    lengths.find(({ from }) => from === wanted)?.numDocuments ?? 0;
  const domains = new Map(before.domains.top.map(({ name, numDocuments }) => [name, numDocuments]));
  return [
    ...[...languages]
      .toSorted()
      .flatMap((name) => pair(words(name), before.languages[name], after.languages[name])),
    ...[...starts]
      .toSorted((a, b) => a - b)
      .flatMap((from) =>
        pair(
          `${count(from)} to ${count(2 * from - 1)} characters`,
          numberOf(before, from),
          numberOf(after, from),
        ),
      ),
    ...after.domains.top
      .slice(0, 10)
      .flatMap(({ name, numDocuments }) => pair(plain(name), domains.get(name), numDocuments)),
  ];
}

function saySamples(
  title: string,
  { numDocuments, samples }: DatasetDiff['added'],
  flags: DiffFlags,
): void {
  if (samples.length === 0) return;
  const shown = samples.length < numDocuments ? `${count(samples.length)} of ` : '';
  say(flags);
  say(flags, stdoutPaint()('bold', `${title}: ${shown}${plural(numDocuments, 'document')}`));
  for (const sample of samples) {
    say(flags, `  ${plain(sample.source)}  ${size(sample.bytes)}${fate(sample)}`);
    if (sample.text !== null) say(flags, `    ${plain(sample.text)}`);
  }
}

function fate({ dropped }: ChangedSample): string {
  return dropped === null ? '' : `, dropped: ${words(dropped)}`;
}
