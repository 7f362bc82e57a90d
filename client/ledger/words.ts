/** The ledger of a phase in words, the same in the terminal and on the report page. */
import { count, percent, plural } from '../report/words.ts';
import type { PhaseLedger } from './ledger.ts';

const times = (number: string): string =>
  number === '0' ? 'never' : number === '1' ? 'once' : number === '2' ? 'twice' : `${number} times`;

/** never 63, once 1,204, twice 9. */
function timesWords(seen: Record<string, number>): string {
  return Object.entries(seen)
    .toSorted(([a], [b]) => Number(a) - Number(b))
    .map(([number, amount]) => `${times(number)} ${count(amount)}`)
    .join(', ');
}

/** What a phase was trained on and what proves it: a name and a sentence each. */
export function ledgerLines(ledger: PhaseLedger): [what: string, words: string][] {
  const { counted, steps, batchSize, sources = [], worlds = [] } = ledger;
  const { documents, epochs, rehearsed, replayed, size } = counted;
  const what = counted.kind === 'tokens' ? 'windows' : 'rows';
  const whole = counted.windowsAnEpoch ?? size;
  const last = epochs.at(-1);
  const lines: [string, string][] = [];
  if (last !== undefined) {
    const done = last.distinct === whole ? epochs.length : epochs.length - 1;
    const rest = last.distinct === whole ? '' : ` and ${percent(last.distinct / whole)} of another`;
    const visited = epochs.reduce((sum, epoch) => sum + epoch.visited, 0);
    lines.push([
      what,
      `${count(visited)}, ${count(whole)} an epoch: ${plural(done, 'whole epoch')}${rest}`,
    ]);
  }
  if (counted.kind === 'tokens') {
    lines.push(['tokens', `of ${count(size)}: ${timesWords(counted.seen)}`]);
    const edges = epochs.map(({ before = 0, after = 0 }) => before + after);
    if (edges.length > 0) {
      const most = Math.max(...edges);
      lines.push(['edges', `at most ${plural(most, 'token')} an epoch fall off its windows`]);
    }
  } else lines.push(['seen', `of ${count(size)}: ${timesWords(counted.seen)}`]);
  if (documents !== undefined) {
    const named = documents.named.slice(0, 3).join(', ');
    const never = documents.never === 0 ? '' : ` (${named}${documents.never > 3 ? ', …' : ''})`;
    lines.push([
      'documents',
      `of ${count(documents.num)}${sources.length === 0 ? '' : ' in an epoch, one that it reads twice counted twice'}: ${count(documents.whole)} whole, ${count(documents.partly)} in part, ${count(documents.never)} never${never}`,
    ]);
  }
  for (const { source, tokens, share, times: often } of sources) {
    lines.push([
      'source',
      `${source}: ${count(tokens)} tokens, ${percent(share)} of what was read, each ${often.toFixed(2)} times`,
    ]);
  }
  if (replayed !== undefined) {
    const visited = replayed.epochs.reduce((sum, epoch) => sum + epoch.visited, 0);
    lines.push([
      'replayed',
      `${count(visited)} windows of what was trained on before, of ${count(replayed.size)} tokens: ${timesWords(replayed.seen)}`,
    ]);
  }
  if (rehearsed !== undefined) {
    lines.push(['rehearsed', `rows of the base’s own text: ${timesWords(rehearsed)}`]);
  }
  const { agreeing, num } = steps.checkpoints;
  const untold =
    steps.untold === 0
      ? ''
      : `; of ${plural(steps.untold, 'step')} no event is stored, a commit behind them is`;
  lines.push([
    'steps',
    `${count(steps.durable)} count once each; ${count(agreeing)} of ${plural(num, 'checkpoint')} stand where the order says (cursor = step × ${batchSize})${untold}`,
  ]);
  if (worlds.length > 0) {
    const told = worlds.map(
      ({ step, numHosts }) => `${plural(numHosts, 'host')} from step ${count(step)} on`,
    );
    lines.push(['hosts', `${told.join(', ')}: not exact`]);
  }
  for (const { generation, lost } of steps.generations) {
    for (const { first, last: to, againBy } of lost) {
      lines.push([
        'lost',
        `generation ${generation}: steps ${count(first)} to ${count(to)}, trained again by generation ${againBy}`,
      ]);
    }
  }
  if (steps.again.steps > 0) {
    const { steps: number, sameLoss } = steps.again;
    lines.push([
      'again',
      `${plural(number, 'step')} told twice, ${count(sameLoss)} with the same loss to the last bit`,
    ]);
  }
  return lines;
}

/** E.g. `258 of 258 steps of 64 × 256, seed 1789, 4 generations`. */
export function ledgerTitle(ledger: PhaseLedger): string {
  const { steps, numSteps, batchSize, contextLength, seed, numGenerations } = ledger;
  return `${count(steps.durable)} of ${count(numSteps)} steps of ${batchSize} × ${contextLength}, seed ${seed}, ${plural(numGenerations, 'generation')}`;
}
