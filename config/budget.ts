/** What a run may spend, in time and in dollars, and whether that ends its training. */
import { z } from 'zod';
import { unitMs } from './durations.ts';
import { durationMs } from './pipeline-values.ts';

export const leastTimeMs = 10 * unitMs.s;
const mostTimeMs = 30 * unitMs.d;
/** Starting, saving and making the model take tens of seconds of it. */
const leastHeldMs = unitMs.m;

export const budgetSchema = z
  .strictObject({
    time: durationMs
      .refine((ms) => ms >= leastTimeMs, 'expected at least 10s')
      .refine((ms) => ms <= mostTimeMs, 'expected at most 30d')
      .optional()
      .describe('training time, all phases; left out, what usd affords, else 4m'),
    usd: z
      .number()
      .positive()
      .optional()
      .describe('what the machines that train may cost; needs usdPerHour'),
    usdPerHour: z
      .number()
      .nonnegative()
      .optional()
      .describe('price of one machine, in dollars; left out, it costs nothing'),
    whenSpent: z
      .enum(['finish', 'wait', 'go-on'])
      .optional()
      .describe(
        'finish: training ends within the budget, and the run goes on with its best checkpoint; wait: it stands until more is added; go-on: the budget is planned for, not held; left out, finish where there is usd, else go-on',
      ),
    stopOnPlateau: z
      .boolean()
      .optional()
      .describe('end pretraining early when the held-out text gets no likelier any more'),
  })
  .prefault({})
  .describe('what a run may spend');

export type Budget = z.infer<typeof budgetSchema>;

/** How long a machine may be paid for; null where no dollars bound it, infinity where it costs nothing. */
export function affordableMs({
  usd,
  usdPerHour = 0,
}: Pick<Budget, 'usd' | 'usdPerHour'>): number | null {
  if (usd === undefined) return null;
  return usdPerHour === 0 ? Infinity : Math.floor((usd / usdPerHour) * unitMs.h);
}

/** Whether a budget ends the training, rather than being planned for alone. */
export function endsTraining({ usd, whenSpent }: Budget): boolean {
  return (whenSpent ?? (usd === undefined ? 'go-on' : 'finish')) !== 'go-on';
}

/** How long a run trains where its file does not say it. */
export function defaultTimeMs(budget: Budget): number {
  const affordable = affordableMs(budget) ?? Infinity;
  return affordable === Infinity ? 4 * unitMs.m : Math.min(affordable, mostTimeMs);
}

/** What of a budget cannot be held. */
export function budgetFaults(
  budget: Budget & { time: number },
): { field: string; message: string }[] {
  const affordable = affordableMs(budget);
  const fault = (field: string, message: string) => [{ field: `budget.${field}`, message }];
  if (affordable === Infinity) {
    return fault('usd', 'expected budget.usdPerHour beside it, the price of the machine');
  }
  if (affordable !== null && affordable < leastTimeMs) {
    return fault('usd', 'expected at least the price of 10s');
  }
  if (endsTraining(budget) && Math.min(budget.time, affordable ?? Infinity) < leastHeldMs) {
    const bounds = affordable !== null && affordable <= budget.time ? 'usd' : 'time';
    const least = bounds === 'usd' ? 'the price of 1m' : '1m';
    return fault(
      bounds,
      `expected at least ${least} where it ends the training: the end takes part of it`,
    );
  }
  return [];
}
