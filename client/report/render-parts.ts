/** Pieces that every section of the report uses. */
import { Html, html, type Part } from './html.ts';

/** A digest short enough to compare by eye, whole for who points at it. */
export function digest(sha256: string): Html {
  return html`<code title="sha256:${sha256}">${sha256.slice(0, 12)}</code>`;
}

export type Cell = Part | { chart: Html } | { number: Part };

/** A table; the first cell of a row is its header. Numbers stand to the right. */
export function table(
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
  tall = false,
): Html {
  const numeric = header.map((_, column) => {
    const cells = rows.map((row) => row[column]);
    return cells.length > 0 && cells.every((cell) => isKind(cell, 'number'));
  });
  return html`<div class="scroll${tall && ' tall'}">
    <table>
      <thead>
        <tr>
          ${header.map((text, column) => html`<th scope="col" ${numeric[column] ? new Html(' class="number"') : null}>${text}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, column) => tableCell(cell, column === 0))}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function isKind(cell: Cell, kind: 'number' | 'chart'): boolean {
  return typeof cell === 'object' && cell !== null && !(cell instanceof Html) && kind in cell;
}

function tableCell(cell: Cell, first: boolean): Html {
  if (typeof cell === 'object' && cell !== null && !(cell instanceof Html)) {
    if ('chart' in cell) return html`<td class="chart">${cell.chart}</td>`;
    if ('number' in cell) return html`<td class="number">${cell.number}</td>`;
  }
  return first ? html`<th scope="row">${cell as Part}</th>` : html`<td>${cell as Part}</td>`;
}
