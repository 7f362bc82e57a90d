/** Two things side by side as lines of a terminal: what differs, and how much is equal. */
import type { DiffRow } from '../side-by-side.ts';
import { plain, shortDigest, table } from './text.ts';

/** A table of the fields that differ, or of all, and a line that counts them. */
export function diffLines(
  rows: readonly DiffRow[],
  names: readonly [string, string],
  all: boolean,
): string[] {
  const differing = rows.filter((row) => row.a !== row.b);
  const shown = all ? rows : differing;
  const equal = rows.length - differing.length;
  const rest = all || equal === 0 ? '' : `; ${equal} are equal (--all shows them)`;
  return [
    ...table(
      ['', '', ...names],
      shown.map((row, index) => [
        row.part === shown[index - 1]?.part ? '' : row.part,
        row.field,
        cell(row.a),
        cell(row.b),
      ]),
    ),
    `${differing.length} of ${rows.length} fields differ${rest}`,
  ];
}

function cell(value: DiffRow['a']): string {
  if (value === null) return '–';
  const text = String(value);
  return /^[0-9a-f]{64}$/.test(text) ? shortDigest(text) : plain(text);
}
