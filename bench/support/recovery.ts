/** What the events of one run directory say of the deaths that its trainers died. */
import type { TrainerEvent } from '../../config/trainer.ts';

/** A generation that adopts a trainer stores its events again: each once, as they were first stored. */
export function onceEach(events: readonly TrainerEvent[]): TrainerEvent[] {
  return [...new Map(events.map((event) => [JSON.stringify(event), event])).values()];
}

/** Each start of a trainer: the step it went on from, and how many that were computed before it went back over. */
export function startsOf(events: readonly TrainerEvent[]): { step: number; lost: number }[] {
  const starts: { step: number; lost: number }[] = [];
  let furthest = 0;
  for (const event of events) {
    if (event.event === 'step') furthest = Math.max(furthest, event.step);
    if (event.event !== 'start') continue;
    starts.push({ step: event.step, lost: Math.max(0, furthest - event.step) });
    furthest = event.step;
  }
  return starts;
}

/** The loss of every step, by step, as it was first told; a step that was told twice has to be told the same. */
export function lossesOf(events: readonly TrainerEvent[]): [number, number[]][] {
  const losses = new Map<number, number[]>();
  for (const event of events) {
    if (event.event !== 'step') continue;
    const told = losses.get(event.step) ?? [];
    losses.set(event.step, told.includes(event.loss) ? told : [...told, event.loss]);
  }
  return [...losses].toSorted(([a], [b]) => a - b);
}

/** How a loss curve differs from another, in words; none means equal to the bit. */
export function lossFaults(
  found: ReturnType<typeof lossesOf>,
  expected: ReturnType<typeof lossesOf>,
): string[] {
  const byStep = new Map(found);
  const missing = expected.filter(([step]) => !byStep.has(step)).map(([step]) => step);
  const other = expected.filter(([step, losses]) => {
    const told = byStep.get(step);
    return told !== undefined && (told.length !== losses.length || told[0] !== losses[0]);
  });
  return [
    ...(missing.length > 0 ? [`no loss of steps ${missing.join(', ')}`] : []),
    ...other.map(
      ([step, [loss]]) => `step ${step}: loss ${byStep.get(step)!.join(' and ')}, expected ${loss}`,
    ),
    ...(found.length > expected.length ? ['losses of more steps than were trained'] : []),
  ];
}

/** From a kill (Unix time, seconds) to the first step of the trainer that was started after it; null: none was. */
export function trainingAgainMs(events: readonly TrainerEvent[], killedAt: number): number | null {
  const start = events.findIndex(({ event, at }) => event === 'start' && at > killedAt);
  if (start < 0) return null;
  const step = events.slice(start).find(({ event }) => event === 'step');
  return step === undefined ? null : (step.at - killedAt) * 1000;
}
