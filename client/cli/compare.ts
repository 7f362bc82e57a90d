/** `temper compare`: two runs side by side, from the facts that their reports show. */
import { compareRuns, type RunComparison } from '../compare-runs.ts';
import { gatherReport } from '../report/gather.ts';
import { openContext, stdoutPaint } from './context.ts';
import { diffLines } from './diff-table.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { temporalOf } from './report.ts';
import type { Paint } from './text.ts';

export async function compareCommand(
  run: string,
  other: string,
  options: CommonOptions & { all?: boolean },
): Promise<number> {
  const context = await openContext();
  const { store } = context;
  const facts = { temporal: await temporalOf(context), store, now: new Date(), code: null };
  const comparison = compareRuns(
    await gatherReport({ ...facts, run }),
    await gatherReport({ ...facts, run: other }),
  );
  if (options.json === true) printJson(comparison);
  const names = [run, other] as const;
  for (const line of diffLines(comparison.rows, names, options.all === true)) say(options, line);
  say(options, digestLine(comparison, stdoutPaint()));
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
