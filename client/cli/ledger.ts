/** `temper ledger`: which tokens a run was trained on and how often, and that nothing was left out or came twice. */
import { gatherLedger } from '../ledger/ledger.ts';
import { ledgerLines, ledgerTitle } from '../ledger/words.ts';
import { traceRun } from '../report/gather.ts';
import { openContext, stdoutPaint } from './context.ts';
import { countPhases } from './ledger-module.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { temporalOf } from './report.ts';
import { padEnd } from './text.ts';

const nameWidth = 10;

export async function ledgerCommand(run: string, options: CommonOptions): Promise<number> {
  const context = await openContext();
  const { store } = context;
  const trace = await traceRun({ temporal: await temporalOf(context), store, run });
  const ledger = await gatherLedger({ store, run, trace, count: countPhases });
  if (options.json === true) printJson(ledger);
  const paint = stdoutPaint();
  for (const phase of ledger.phases) {
    const { round, trainedBy, steps } = phase;
    const which = round === 0 ? '' : `, round ${round + 1}`;
    const where = trainedBy === run ? '' : `, trained by run ${trainedBy}`;
    say(options, `${paint('bold', phase.phase)}${which}${where}: ${ledgerTitle(phase)}`);
    for (const [what, words] of ledgerLines(phase)) {
      say(options, `  ${padEnd(what, nameWidth)} ${words}`);
    }
    for (const fault of steps.faults) {
      say(options, `  ${paint('red', padEnd('✗', nameWidth))} ${fault}`);
    }
    say(options);
  }
  for (const sentence of ledger.missing) say(options, `! ${sentence}`);
  say(
    options,
    ledger.proven
      ? `${paint('green', '✓')} no gaps and no doubles in run ${run}`
      : `${paint('red', '✗')} run ${run}: no gaps and no doubles is not proven`,
  );
  return ledger.proven ? ExitCode.ok : ExitCode.failed;
}
