/** Values that several keys of a pipeline file take: durations, shares, names. Parsing resolves their units. */
import { z } from 'zod';
import { unitMs, type DurationUnit } from './durations.ts';

/** A file says the unit; a number is the milliseconds of a pipeline that is already resolved. */
export const durationMs = z
  .union([
    z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as 90s, 20m or 2h'),
    z.number().int(),
  ])
  .transform((value) => {
    if (typeof value === 'number') return value;
    const [, amount, name] = /^([\d.]+)(ms|s|m|h|d)$/.exec(value)!;
    return Math.round(Number(amount) * unitMs[name as DurationUnit]);
  });

/** A percentage in a file, or a number from 0 to 1. */
export const share = z
  .union([
    z.string().regex(/^\d+(\.\d+)?%$/, 'expected a share such as 2%'),
    z.number().min(0).max(1),
  ])
  .transform((value) => (typeof value === 'number' ? value : Number(value.slice(0, -1)) / 100))
  .pipe(z.number().min(0).max(1));

/** Of a dataset, a model, an endpoint. */
export const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/,
    'expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter',
  );
