/** A budget as people read it: what was spent, what is allowed, what was added and where it ended a training. */
import type { RunBudget } from './budget.ts';

/** E.g. `12m 30s of 30m machine time, $0.52 of $1.25; finish when it is spent`. */
export function budgetLine(budget: RunBudget): string {
  const { spentMs, limitMs, usdPerHour, spentUsd, limitUsd, whenSpent } = budget;
  const time = `${timeOf(spentMs)}${limitMs === null ? '' : ` of ${timeOf(limitMs)}`} of machine time`;
  const limit = limitUsd === null ? '' : ` of ${dollars(limitUsd)}`;
  const price = usdPerHour === 0 ? '' : `, ${dollars(spentUsd)}${limit}`;
  return `${time}${price}${whenSpent === null ? '' : `; when it is spent: ${whenSpent}`}`;
}

/** Everything about the budget of a run. */
export function budgetLines(budget: RunBudget): string[] {
  const { run, whenSpent } = budget;
  return [
    `run ${run}: ${budgetLine(budget)}`,
    ...(whenSpent === null
      ? [
          '  Its budget is planned for, and ends nothing: budget.whenSpent or dollars would hold it.',
        ]
      : []),
    ...budgetEvents(budget).map((text) => `  ${text}`),
  ];
}

/** What was added, and where it ended a training. */
export function budgetEvents({ added, endings }: Pick<RunBudget, 'added' | 'endings'>): string[] {
  return [
    ...added.map(({ timeMs, usd, by, why, at }) => {
      const parts = [
        ...(timeMs === undefined ? [] : [timeOf(timeMs)]),
        ...(usd === undefined ? [] : [dollars(usd)]),
      ];
      return `+ ${parts.join(' and ')} by ${by}${why === null ? '' : `: ${why}`} (${minute(at)})`;
    }),
    ...endings.map(({ phase, step, reason, at, continuedAt }) => {
      const after = continuedAt === undefined ? '' : `; went on ${minute(continuedAt)}`;
      return `${phase} ended with the checkpoint of step ${step}, ${reason} (${minute(at)}${after})`;
    }),
  ];
}

function minute(iso: string): string {
  return `${iso.slice(0, 16).replace('T', ' ')} UTC`;
}

function dollars(value: number): string {
  return `$${value.toFixed(2)}`;
}

/** E.g. `1h 5m` or `3m 20s`. */
export function timeOf(ms: number): string {
  const s = Math.round(ms / 1000);
  const [h, m] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  const seconds = h > 0 ? 0 : s % 60;
  const parts = [h > 0 ? `${h}h` : '', m > 0 ? `${m}m` : '', seconds > 0 ? `${seconds}s` : ''];
  const told = parts.filter((part) => part !== '').join(' ');
  return told === '' ? '0s' : told;
}
