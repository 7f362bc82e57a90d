/**
 * Curves drawn as text: Braille dots (eight a character) where the terminal has Unicode, letters where not. Each
 * column of dots holds the lowest and the highest value of its steps, so that no spike is lost however many there are.
 * Pure.
 */
import { ticks } from '../report/charts.ts';
import { count, padStart, painter, type Style } from './text.ts';

export type Charset = 'unicode' | 'ascii';
export type Point = readonly [x: number, y: number];

export interface Line {
  /** In order of x; a y that is no number is a gap. */
  points: readonly Point[];
  style: Style;
  /** Draws it where there is neither Braille nor colour. */
  letter: string;
}

export interface PlotOptions {
  columns: number;
  /** Of the plot itself, without its axis. */
  rows: number;
  charset: Charset;
  colour: boolean;
  /** Single values drawn over the lines. */
  dots?: readonly Point[];
  /** Places on the x axis to point at. */
  marks?: readonly number[];
  /** Where the x axis ends at least. */
  upTo?: number;
}

/** The narrowest that is worth drawing. */
const leastPlotColumns = 28;

/** Whether the terminal can draw Braille: Linux's own console cannot, nor can a locale that is not of Unicode. */
export function charsetOf(env: Record<string, string | undefined>): Charset {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((one) => (one ?? '') !== '');
  const speaksUnicode = locale === undefined || /utf-?8/i.test(locale);
  return speaksUnicode && env['TERM'] !== 'linux' ? 'unicode' : 'ascii';
}

/** The lines of a plot, with both axes; none where there is no value or no room. */
export function plot(lines: readonly Line[], options: PlotOptions): string[] {
  const { rows, charset, dots = [], marks = [], upTo = 0 } = options;
  const finite = [...lines.flatMap((line) => line.points), ...dots].filter(isFinitePoint);
  if (finite.length === 0 || options.columns < leastPlotColumns) return [];
  let [low, high, last] = [Infinity, -Infinity, upTo];
  for (const [x, y] of finite) {
    low = Math.min(low, y);
    high = Math.max(high, y);
    last = Math.max(last, x);
  }
  if (high === low)
    [low, high] = [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const labels = ticks(low, high, Math.max(2, Math.floor(rows / 2)));
  const labelWidth = Math.max(...labels.map((label) => short(label).length));
  const columns = Math.min(options.columns, 200) - labelWidth - 2;
  const raster = new Raster(columns, rows, charset);
  const x = (value: number) => (last === 0 ? 0 : value / last);
  const y = (value: number) => (value - low) / (high - low);
  for (const [index, line] of lines.entries()) raster.line(index, line.points, x, y);
  for (const point of dots) if (isFinitePoint(point)) raster.dot(x(point[0]), y(point[1]));

  const paint = painter(options.colour);
  const byRow = new Map(labels.map((label) => [raster.rowOf(y(label)), label]));
  const [tick, side, corner, floor, below] =
    charset === 'unicode' ? ['┤', '│', '└', '─', '┬'] : ['+', '|', '+', '-', '+'];
  const body = Array.from({ length: rows }, (_, row) => {
    const label = byRow.get(row);
    const axis = `${padStart(label === undefined ? '' : short(label), labelWidth)} ${label === undefined ? side : tick}`;
    return paint('dim', axis) + raster.row(row, lines, options.colour);
  });
  const steps = ticks(0, last, Math.max(1, Math.floor(columns / 14))).filter(Number.isInteger);
  const floorCells = Array.from({ length: columns }, () => floor!);
  const numbers = Array.from({ length: columns }, () => ' ');
  for (const step of steps) {
    const column = Math.round(x(step) * (columns - 1));
    floorCells[column] = below!;
    const text = last >= 1e6 ? short(step) : count(step);
    const from = Math.max(0, Math.min(columns - text.length, column - Math.floor(text.length / 2)));
    if (
      numbers.slice(Math.max(0, from - 1), from + text.length + 1).every((cell) => cell === ' ')
    ) {
      for (const [index, cell] of [...text].entries()) numbers[from + index] = cell;
    }
  }
  const indent = ' '.repeat(labelWidth + 1);
  return [
    ...body,
    paint('dim', indent + corner + floorCells.join('')),
    ...markLine(marks, columns, (value) => x(value), charset).map(
      (line) => `${indent} ${paint('yellow', line)}`,
    ),
    paint('dim', `${indent} ${numbers.join('').trimEnd()}`),
  ];
}

function markLine(
  marks: readonly number[],
  columns: number,
  x: (value: number) => number,
  charset: Charset,
): string[] {
  if (marks.length === 0) return [];
  const cells = Array.from({ length: columns }, () => ' ');
  for (const mark of marks) {
    const column = Math.min(columns - 1, Math.max(0, Math.round(x(mark) * (columns - 1))));
    cells[column] = charset === 'unicode' ? '▲' : '^';
  }
  return [cells.join('').trimEnd()];
}

function isFinitePoint([x, y]: Point): boolean {
  return Number.isFinite(x) && Number.isFinite(y);
}

/** A number of an axis in few characters. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return size !== 0 && size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
}

/** Cells of characters, in each of which dots are set. */
class Raster {
  readonly #columns: number;
  readonly #rows: number;
  /** Dots of a character: two by four of Braille, or itself alone. */
  readonly #across: number;
  readonly #down: number;
  readonly #bits: Uint8Array;
  /** Which lines have drawn in a cell, a bit each. */
  readonly #owners: Uint8Array;
  readonly #dotted = new Set<number>();
  readonly #charset: Charset;

  constructor(columns: number, rows: number, charset: Charset) {
    this.#columns = columns;
    this.#rows = rows;
    this.#charset = charset;
    [this.#across, this.#down] = charset === 'unicode' ? [2, 4] : [1, 1];
    this.#bits = new Uint8Array(columns * rows);
    this.#owners = new Uint8Array(columns * rows);
  }

  /** From the top; `share` counts from the bottom. */
  rowOf(share: number): number {
    return Math.floor(this.#dotRow(share) / this.#down);
  }

  #dotRow(share: number): number {
    const last = this.#rows * this.#down - 1;
    return Math.min(last, Math.max(0, Math.round((1 - share) * last)));
  }

  #dotColumn(share: number): number {
    const last = this.#columns * this.#across - 1;
    return Math.min(last, Math.max(0, Math.round(share * last)));
  }

  line(
    owner: number,
    points: readonly Point[],
    x: (value: number) => number,
    y: (value: number) => number,
  ): void {
    let before: { column: number; row: number } | null = null;
    for (const point of points) {
      if (!isFinitePoint(point)) {
        before = null;
        continue;
      }
      const column = this.#dotColumn(x(point[0]));
      const row = this.#dotRow(y(point[1]));
      this.#join(owner, before ?? { column, row }, { column, row });
      before = { column, row };
    }
  }

  /** A straight line of dots, without holes in steep places. */
  #join(
    owner: number,
    from: { column: number; row: number },
    to: { column: number; row: number },
  ): void {
    const steps = Math.max(Math.abs(to.column - from.column), Math.abs(to.row - from.row), 1);
    for (let step = 0; step <= steps; step += 1) {
      const share = step / steps;
      this.#set(
        owner,
        Math.round(from.column + (to.column - from.column) * share),
        Math.round(from.row + (to.row - from.row) * share),
      );
    }
  }

  #set(owner: number, column: number, row: number): void {
    const cell = Math.floor(row / this.#down) * this.#columns + Math.floor(column / this.#across);
    // The bits of a Braille character (Unicode 2800): 1-2-3 and 4-5-6 downwards, 7 and 8 below.
    const [left, right] = [
      [0x01, 0x02, 0x04, 0x40],
      [0x08, 0x10, 0x20, 0x80],
    ] as const;
    this.#bits[cell]! |= (column % this.#across === 0 ? left : right)[row % this.#down]!;
    this.#owners[cell]! |= 1 << owner;
  }

  dot(x: number, y: number): void {
    const column = Math.floor(this.#dotColumn(x) / this.#across);
    this.#dotted.add(this.rowOf(y) * this.#columns + column);
  }

  row(row: number, lines: readonly Line[], colour: boolean): string {
    const paint = painter(colour);
    // Braille of two lines differs by its colour alone.
    const asBraille = this.#charset === 'unicode' && (colour || lines.length === 1);
    let text = '';
    for (let column = 0; column < this.#columns; column += 1) {
      const cell = row * this.#columns + column;
      const owners = this.#owners[cell]!;
      if (this.#dotted.has(cell)) {
        text += paint('yellow', this.#charset === 'unicode' ? '●' : 'o');
      } else if (owners === 0) {
        text += ' ';
      } else {
        const drawn = lines.filter((_, index) => (owners & (1 << index)) !== 0);
        const letter = drawn.length > 1 ? '#' : drawn[0]!.letter;
        const sign = asBraille ? String.fromCodePoint(0x2800 + this.#bits[cell]!) : letter;
        text += paint(drawn.at(-1)!.style, sign);
      }
    }
    return colour ? text : text.trimEnd();
  }
}

const blocks: Record<Charset, string> = { unicode: '▁▂▃▄▅▆▇█', ascii: '_.-~=+*#' };

/** Values as a line of small columns, each the mean of its share; a gap where there is no number. */
export function sparkline(values: readonly number[], columns: number, charset: Charset): string {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0 || columns < 1) return '';
  const width = Math.min(columns, values.length);
  const size = values.length / width;
  const means = Array.from({ length: width }, (_, index) => {
    const group = values
      .slice(Math.floor(index * size), Math.floor((index + 1) * size))
      .filter(Number.isFinite);
    return group.reduce((sum, value) => sum + value, 0) / group.length;
  });
  const known = means.filter(Number.isFinite);
  const low = Math.min(...known);
  const span = Math.max(...known) - low;
  return means
    .map((mean) => {
      if (!Number.isFinite(mean)) return ' ';
      return blocks[charset][span === 0 ? 0 : Math.round(((mean - low) / span) * 7)]!;
    })
    .join('');
}
