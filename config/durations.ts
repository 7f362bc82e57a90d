/** Units and parts of a duration, from which each room makes the words of its readers. */

/** Milliseconds of each unit, the largest first. */
export const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
export type DurationUnit = keyof typeof unitMs;
const units = Object.entries(unitMs) as [DurationUnit, number][];

/** The largest unit of which a duration is a whole number, of those from `least` on; rounded where there is none. */
export function inWholeUnits(
  ms: number,
  least: DurationUnit,
): { amount: number; unit: DurationUnit } {
  const allowed = units.slice(0, units.findIndex(([unit]) => unit === least) + 1);
  const [unit, size] = allowed.find(([, each]) => ms % each === 0) ?? allowed.at(-1)!;
  return { amount: Math.round(ms / size), unit };
}

/** Hours, minutes and seconds of a duration that is rounded to seconds. */
export function inHours(ms: number): { h: number; m: number; s: number } {
  const seconds = Math.round(ms / 1000);
  return {
    h: Math.floor(seconds / 3600),
    m: Math.floor(seconds / 60) % 60,
    s: seconds % 60,
  };
}
