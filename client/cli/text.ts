/** Text for terminals: measured in columns, so that double-width characters keep their places. */
import { styleText } from 'node:util';
import stringWidth from 'string-width';

const graphemes = new Intl.Segmenter();

export type Style = 'green' | 'red' | 'yellow' | 'cyan' | 'dim' | 'bold';
export type Paint = (style: Style, text: string) => string;

/** A painter that colours, or leaves text as it is. */
export function painter(colour: boolean): Paint {
  return colour ? (style, text) => styleText(style, text, { validateStream: false }) : (_, t) => t;
}

/** Text from outside on one line, with nothing in it that a terminal would obey. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
}

/** Cuts at a display width; what is cut shows as an ellipsis. */
export function truncate(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  if (columns < 1) return '';
  let kept = '';
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    const next = stringWidth(segment);
    if (width + next > columns - 1) break;
    kept += segment;
    width += next;
  }
  return `${kept}…`;
}

/** Fills up with spaces on the right to a display width. */
export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - stringWidth(text)));
}

/** Fills up with spaces on the left to a display width. */
export function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - stringWidth(text))) + text;
}

/** Left text and right text at the two ends of a line; the left one gives way. */
export function spread(left: string, right: string, columns: number): string {
  if (right === '') return truncate(left, columns);
  const room = columns - stringWidth(right) - 1;
  if (room < 8) return truncate(left, columns);
  return `${padEnd(truncate(left, room), room)} ${right}`;
}

/** 0:08, 14:02, 1:04:30. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const pad = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** 12,345. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** A learning rate: 0.02, 3.1e-4. */
export function rate(value: number): string {
  if (value === 0 || value >= 0.001) return String(Number(value.toPrecision(2)));
  return value.toExponential(1);
}

/** 312 MB, 1.24 GB. */
export function bytes(value: number): string {
  return value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${Math.round(value / 1e6)} MB`;
}

/** The first twelve digits are enough to compare by eye. */
export function shortDigest(digest: string): string {
  return `sha256:${digest.slice(0, 12)}`;
}

/** Rows as columns, each as wide as its widest cell. */
export function table(header: string[], rows: string[][]): string[] {
  const widths = header.map((_, column) =>
    Math.max(...[header, ...rows].map((row) => stringWidth(row[column] ?? ''))),
  );
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => padEnd(cell, widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
