/** How documents spread, as lines for a terminal: each figure with a bar. */
import { lengthStarts, type Distributions, type Top } from '../../config/statistics.ts';
import { count, padEnd, padStart, plain, truncate } from './text.ts';
import stringWidth from 'string-width';

const barColumns = 24;
/** Of languages and domains; the others are counted. */
const mostRows = 8;

interface Row {
  name: string;
  number: number;
}

/** Languages, lengths, domains, stated licences and dates, as far as there are any. */
export function distributionLines(distributions: Distributions): string[] {
  const { languages, lengths, domains, licenses, dates } = distributions;
  const byNumber = Object.entries(languages)
    .map(([name, number]) => ({ name, number }))
    .toSorted((a, b) => b.number - a.number || (a.name < b.name ? -1 : 1));
  return [
    ...barLines('languages', some(byNumber, 0, 0)),
    ...barLines(
      'characters of a document',
      lengthStarts(lengths).map((from) => ({
        name: `${count(from)} to ${count(2 * from - 1)}`,
        number: lengths.find((one) => one.from === from)?.numDocuments ?? 0,
      })),
    ),
    ...barLines('domains', topRows(domains)),
    ...barLines('licences that documents state', topRows(licenses)),
    ...(dates === null ? [] : ['dates', `  ${dates.first} to ${dates.last}`, '']),
  ];
}

function topRows({ top, numOthers, numDocumentsOfOthers }: Top): Row[] {
  const rows = top.map(({ name, numDocuments }) => ({ name: plain(name), number: numDocuments }));
  return some(rows, numOthers, numDocumentsOfOthers);
}

/** The first rows, and one for the others. */
function some(rows: readonly Row[], numOthers: number, numDocumentsOfOthers: number): Row[] {
  const shown = rows.slice(0, mostRows);
  const rest = rows.slice(mostRows);
  const numMore = rest.length + numOthers;
  if (numMore === 0) return shown;
  const number = rest.reduce((sum, row) => sum + row.number, numDocumentsOfOthers);
  return [...shown, { name: `${count(numMore)} others`, number }];
}

function barLines(title: string, rows: readonly Row[]): string[] {
  if (rows.length === 0) return [];
  const names = rows.map(({ name }) => truncate(name, 40));
  const wide = Math.max(...names.map((name) => stringWidth(name)));
  const numbers = rows.map(({ number }) => count(number));
  const digits = Math.max(...numbers.map((number) => number.length));
  const most = Math.max(...rows.map(({ number }) => number), 1);
  return [
    title,
    ...rows.map(({ number }, index) => {
      const bar = '█'.repeat(
        number === 0 ? 0 : Math.max(1, Math.round((number / most) * barColumns)),
      );
      return `  ${padEnd(names[index]!, wide)}  ${padStart(numbers[index]!, digits)}  ${bar}`;
    }),
    '',
  ];
}
