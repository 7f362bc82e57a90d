/** Charts of what was read and what was kept of it: languages, lengths, domains, years, and where documents went. */
import { lengthStarts, type Distributions, type Top } from '../../config/statistics.ts';
import { fixed, scale } from './charts.ts';
import { html, langOf, type Html } from './html.ts';
import { count, percent, plural } from './words.ts';

const width = 430;
const rowHeight = 24;
const mostRows = 8;

interface Bar {
  name: string;
  read: number;
  /** Null where no corpus says it. */
  kept: number | null;
}

/** What is known of a version, and of the corpus made of it. */
export interface Spread {
  read: Distributions | null;
  kept: Distributions | null;
}

/** Each chart that there is something to show in; null where nothing was counted. */
export function dataCharts(spread: Spread): Html | null {
  const charts = [
    barChart('languages', 'Languages', 'no language', languageBars(spread)),
    lengthsChart(spread),
    barChart('domains', 'Where from on the web', 'no domain', topBars(spread, 'domains')),
    barChart('stated', 'Licences that documents state', 'none', topBars(spread, 'licenses')),
    yearsChart(spread),
  ].filter((chart) => chart !== null);
  if (charts.length === 0) return null;
  const both = spread.read !== null && spread.kept !== null;
  return html`<h3>What the documents are like</h3>
    ${
      both &&
      html`<p class="dots">
        <span><i class="block read"></i>as they were read</span>
        <span><i class="block kept"></i>kept</span>
      </p>`
    }
    <div class="figures">${charts}</div>`;
}

function languageBars({ read, kept }: Spread): Bar[] {
  const first = (read ?? kept)?.languages ?? {};
  const names = new Set([...Object.keys(first), ...Object.keys(kept?.languages ?? {})]);
  const bars = [...names]
    .map((name) => ({
      name: languageName(name),
      read: first[name] ?? 0,
      kept: read === null || kept === null ? null : (kept.languages[name] ?? 0),
    }))
    .toSorted((a, b) => b.read - a.read || (a.name < b.name ? -1 : 1));
  return shortened(bars, 0, 0, 0);
}

const languageNames = new Intl.DisplayNames('en', { type: 'language', fallback: 'code' });

/** Traditional Chinese for zh-Hant; the name of a script stays. */
export function languageName(tag: string): string {
  if (!/^[a-z]{2,3}(-[A-Za-z]+)*$/.test(tag)) return tag;
  try {
    return languageNames.of(tag) ?? tag;
  } catch {
    return tag;
  }
}

function topBars({ read, kept }: Spread, kind: 'domains' | 'licenses'): Bar[] {
  const first = (read ?? kept)?.[kind];
  if (first === undefined) return [];
  // A name that is not among the most frequent of the kept ones has a number that nobody noted.
  const known = read === null ? null : (kept?.[kind] ?? null);
  const numbers = new Map(known?.top.map(({ name, numDocuments }) => [name, numDocuments]));
  const isWhole = known?.numOthers === 0;
  const bars = first.top.map(({ name, numDocuments }) => ({
    name,
    read: numDocuments,
    kept: known === null ? null : (numbers.get(name) ?? (isWhole ? 0 : null)),
  }));
  return shortened(bars, first.numOthers, first.numDocumentsOfOthers, totalOf(known));
}

function totalOf(top: Top | null): number {
  return top === null
    ? 0
    : top.top.reduce((sum, { numDocuments }) => sum + numDocuments, top.numDocumentsOfOthers);
}

/** The first bars, and one for all others. */
function shortened(bars: Bar[], numOthers: number, numRead: number, totalKept: number): Bar[] {
  const shown = bars.slice(0, mostRows);
  const rest = bars.slice(mostRows);
  if (rest.length + numOthers === 0) return shown;
  const sum = (some: readonly Bar[], of: 'read' | 'kept') =>
    some.reduce((total, bar) => total + (bar[of] ?? 0), 0);
  const knowsKept = bars.some(({ kept }) => kept !== null);
  const kept = totalKept > 0 ? totalKept - sum(shown, 'kept') : sum(rest, 'kept');
  const name = `${count(rest.length + numOthers)} others`;
  return [...shown, { name, read: numRead + sum(rest, 'read'), kept: knowsKept ? kept : null }];
}

/** Bars to the right of their names. */
function barChart(id: string, title: string, none: string, bars: readonly Bar[]): Html | null {
  if (bars.length === 0) return null;
  const left = 172;
  const right = width - 64;
  const most = Math.max(...bars.map(({ read }) => read), 1);
  const x = scale(0, most, left, right);
  const height = 26 + bars.length * rowHeight + 4;
  const text = bars
    .map(
      ({ name, read, kept }) =>
        `${name}: ${count(read)}${kept === null ? '' : `, ${count(kept)} kept`}`,
    )
    .join('; ');
  return html`<svg
    viewBox="0 0 ${width} ${height}"
    role="img"
    aria-labelledby="${id}-title ${id}-text"
  >
    <title id="${id}-title">${title}</title>
    <desc id="${id}-text">${text === '' ? none : text}.</desc>
    <text class="label" x="4" y="14">${title}</text>
    ${bars.map((bar, index) => {
      const y = 28 + index * rowHeight;
      const lang = langOf(bar.name);
      return html`<g ${lang !== undefined && html`lang="${lang}"`}>
        <text x="${left - 8}" y="${y + 13}" text-anchor="end">${clipped(bar.name)}</text>
        <rect
          class="${bar.kept === null ? 'kept' : 'read'}"
          x="${left}"
          y="${y + 2}"
          width="${fixed(atLeast(x(bar.read) - left, bar.read))}"
          height="15"
          rx="3"
        />
        ${
          bar.kept !== null &&
          html`<rect
            class="kept"
            x="${left}"
            y="${y + 2}"
            width="${fixed(atLeast(x(bar.kept) - left, bar.kept))}"
            height="15"
            rx="3"
          />`
        }
        <text class="tick" x="${fixed(x(bar.read) + 6)}" y="${y + 14}">${count(bar.read)}</text>
      </g>`;
    })}
  </svg>`;
}

/** What is there is seen, however little it is. */
function atLeast(length: number, number: number): number {
  return number === 0 ? 0 : Math.max(2, length);
}

/** As much as fits to the left of the bars; a Chinese character takes the room of two letters. */
function clipped(name: string): string {
  const room = 22;
  let used = 0;
  let kept = '';
  for (const character of name) {
    used += character >= '\u2E80' ? 2 : 1;
    if (used > room) return `${kept}…`;
    kept += character;
  }
  return name;
}

interface Column {
  label: string;
  words: string;
  read: number;
  kept: number | null;
}

function lengthsChart({ read, kept }: Spread): Html | null {
  const first = read ?? kept;
  if (first === null || first.lengths.length === 0) return null;
  const columns = lengthStarts(first.lengths, kept?.lengths ?? []).map((from): Column => {
    const of = ({ lengths }: Distributions) =>
      lengths.find((one) => one.from === from)?.numDocuments ?? 0;
    return {
      label: binary(from),
      words: `${count(from)} to ${count(2 * from - 1)} characters`,
      read: of(first),
      kept: read === null || kept === null ? null : of(kept),
    };
  });
  return columnChart(
    'characters',
    'Characters of a document',
    columns,
    'each column is twice as long',
  );
}

/** 64, 1K, 2M: powers of two in few letters. */
function binary(value: number): string {
  if (value >= 2 ** 20) return `${value / 2 ** 20}M`;
  return value >= 2 ** 10 ? `${value / 2 ** 10}K` : String(value);
}

/** By the year, or by the decade where there are many. */
function yearsChart({ read, kept }: Spread): Html | null {
  const first = (read ?? kept)?.dates ?? null;
  if (first === null) return null;
  const years = Object.keys(first.years).map(Number);
  const [from, to] = [Math.min(...years), Math.max(...years)];
  const span = to - from < 24 ? 1 : to - from < 240 ? 10 : 100;
  const columns: Column[] = [];
  for (let start = Math.floor(from / span) * span; start <= to; start += span) {
    const of = (counts: Readonly<Record<string, number>> = {}): number =>
      Object.entries(counts).reduce(
        (sum, [year, number]) =>
          Number(year) >= start && Number(year) < start + span ? sum + number : sum,
        0,
      );
    columns.push({
      label: String(start),
      words: span === 1 ? String(start) : `${start} to ${start + span - 1}`,
      read: of(first.years),
      kept: read === null || kept === null ? null : of(kept.dates?.years),
    });
  }
  const foot = span === 1 ? 'by the year' : span === 10 ? 'by the decade' : 'by the century';
  return columnChart('years', 'Dates of documents', columns, foot);
}

function columnChart(id: string, title: string, columns: readonly Column[], foot: string): Html {
  const [top, bottom, height] = [44, 176, 212];
  const step = Math.min(56, (width - 12) / columns.length);
  const most = Math.max(...columns.map(({ read, kept }) => Math.max(read, kept ?? 0)), 1);
  const y = scale(0, most, bottom, top);
  // Every so many columns has its words, so that they do not touch.
  const every = Math.ceil(44 / step);
  const text = columns
    .map(
      ({ words, read, kept }) =>
        `${words}: ${count(read)}${kept === null ? '' : `, ${count(kept)} kept`}`,
    )
    .join('; ');
  const column = (kind: string, value: number, at: number): Html =>
    html`<rect
      class="${kind}"
      x="${fixed(at + 2)}"
      y="${fixed(bottom - atLeast(bottom - y(value), value))}"
      width="${fixed(Math.max(1, step - 4))}"
      height="${fixed(atLeast(bottom - y(value), value))}"
      rx="2"
    />`;
  return html`<svg
    viewBox="0 0 ${width} ${height}"
    role="img"
    aria-labelledby="${id}-title ${id}-text"
  >
    <title id="${id}-title">${title}</title>
    <desc id="${id}-text">${text}.</desc>
    <text class="label" x="4" y="14">${title}</text>
    ${columns.map(({ label, read, kept }, index) => {
      const at = 6 + index * step;
      const isNamed = index % every === 0;
      return html`${column(kept === null ? 'kept' : 'read', read, at)}${kept !== null && column('kept', kept, at)}${
        isNamed &&
        html`<text class="tick" x="${fixed(at + step / 2)}" y="${bottom + 16}" text-anchor="middle"
          >${label}</text
        >`
      }${
        (every === 1 || read === most) &&
        read > 0 &&
        html`<text
          class="tick"
          x="${fixed(at + step / 2)}"
          y="${fixed(y(Math.max(read, kept ?? 0)) - 5)}"
          text-anchor="middle"
          >${count(read)}</text
        >`
      }`;
    })}
    <line
      class="base"
      x1="2"
      x2="${fixed(10 + step * columns.length)}"
      y1="${bottom}"
      y2="${bottom}"
    />
    <text class="axis" x="6" y="${bottom + 32}">${foot}</text>
  </svg>`;
}

export interface Went {
  name: string;
  number: number;
  /** A class of the style. */
  kind: 'kept' | 'duplicates' | 'left-out' | 'unread';
}

/** Where all documents went, as one bar: what was kept, and what was not and why. */
export function fateChart(parts: readonly Went[]): Html | null {
  const total = parts.reduce((sum, { number }) => sum + number, 0);
  if (total === 0) return null;
  const present = parts.filter(({ number }) => number > 0);
  const text = present
    .map(({ name, number }) => `${name}: ${plural(number, 'document')}, ${percent(number / total)}`)
    .join('; ');
  let from = 0;
  const places = present.map((part) => {
    const start = from;
    from += part.number;
    return { ...part, start };
  });
  const x = scale(0, total, 0, 880);
  return html`<figure>
    <svg
      class="fate"
      viewBox="0 0 880 34"
      preserveAspectRatio="none"
      role="img"
      aria-labelledby="fate-title fate-text"
    >
      <title id="fate-title">Where the documents went</title>
      <desc id="fate-text">${text}.</desc>
      ${places.map(
        ({ start, number, kind }) =>
          html`<rect
            class="${kind}"
            x="${fixed(x(start))}"
            width="${fixed(Math.max(1.5, x(start + number) - x(start) - 1.5))}"
            height="34"
          />`,
      )}
    </svg>
    <figcaption class="dots">
      ${present.map(
        ({ name, number, kind }) =>
          html`<span
            ><i class="block ${kind}"></i>${name} <strong>${count(number)}</strong> ${percent(
              number / total,
            )}</span
          >`,
      )}
    </figcaption>
  </figure>`;
}
