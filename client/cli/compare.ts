/** `temper compare`: two runs side by side, from the facts that their reports show; in the terminal, or as a page. */
import path from 'node:path';
import { compareRuns, type RunComparison } from '../compare-runs.ts';
import { gatherReport } from '../report/gather.ts';
import { renderComparison } from '../report/render-comparison.ts';
import { openContext, stdoutPaint } from './context.ts';
import { diffLines } from './diff-table.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { charsetOf } from './plot.ts';
import { screenOf } from './progress.ts';
import { overlayLines, pairPhases } from './render-curves.ts';
import { temporalOf, writePage } from './report.ts';
import type { Paint } from './text.ts';

const plotRows = 10;

export interface CompareOptions extends CommonOptions {
  all?: boolean;
  output?: string;
}

export async function compareCommand(
  run: string,
  other: string,
  options: CompareOptions,
): Promise<number> {
  const context = await openContext();
  const { store } = context;
  const facts = { temporal: await temporalOf(context), store, now: new Date(), code: null };
  const a = await gatherReport({ ...facts, run });
  const b = await gatherReport({ ...facts, run: other });
  const comparison = compareRuns(a, b);
  const file = options.output === undefined ? null : path.resolve(options.output);
  if (file !== null) await writePage(file, renderComparison(comparison, a, b));
  if (options.json === true) printJson(comparison);
  const names = [run, other] as const;
  for (const line of diffLines(comparison.rows, names, options.all === true)) say(options, line);
  say(options, digestLine(comparison, stdoutPaint()));
  const screen = screenOf(process.stdout, process.env);
  const look = {
    columns: screen.columns - 1,
    rows: plotRows,
    charset: charsetOf(process.env),
    colour: screen.colour,
  };
  for (const pair of pairPhases(a, b)) {
    say(options);
    for (const line of overlayLines(pair, look)) say(options, line);
  }
  if (file !== null) say(options, file);
  return ExitCode.ok;
}

/** Whether the two made the same bits. */
export function digestLine({ digests }: RunComparison, paint: Paint): string {
  const { equal, differing } = digests;
  if (equal.length + differing.length === 0) return 'no digest is stored of both';
  if (differing.length === 0) {
    return `${paint('green', '✓')} the same bits: ${equal.join(', ')}`;
  }
  const same = equal.length === 0 ? '' : `; equal: ${equal.join(', ')}`;
  return `other bits: ${differing.join(', ')}${same}`;
}
