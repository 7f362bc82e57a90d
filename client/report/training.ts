/** The training events that S3 keeps, as a curve with everything that happened on the way. */
import type { Head } from '../../config/manifests.ts';
import { trainerEventSchema, type TrainerEvent } from '../../config/trainer.ts';
import { describeRollback } from '../../registry/rollbacks.ts';
import type { Store } from '../../registry/store.ts';
import { readEvents, readHead, type TrialPath } from '../../registry/training.ts';
import type { RunNote } from '../../workflows/messages.ts';
import type { CurvePoint, Mark, PhaseReport } from './run-report.ts';
import { rateWords } from './words.ts';

export type Curve = Pick<
  PhaseReport,
  | 'points'
  | 'evaluations'
  | 'checkpoints'
  | 'generations'
  | 'marks'
  | 'trainingMs'
  | 'rollbacks'
  | 'plateau'
>;

type StepEvent = Extract<TrainerEvent, { event: 'step' }>;
type Decided = Pick<Head, 'learningRates' | 'rollbacks'>;

const maxPoints = 400;

/** Reads the curve of a trial, with a point for each step; null when it never began. */
export async function readCurve(
  store: Store,
  trial: TrialPath,
  notes: readonly RunNote[],
): Promise<Curve | null> {
  const head = await readHead(store, trial);
  if (head === null) return null;
  const checkpoints = head.value.chain.map(({ step, fence }) => ({ step, generation: fence }));
  const { fence, rollbacks } = head.value;
  const curve = curveOf(await readEvents(store, trial), checkpoints, fence, notes);
  const marks = [...curve.marks, ...decidedMarks(head.value, notes)];
  return { ...curve, marks: marks.toSorted((a, b) => a.step - b.step), rollbacks };
}

/** What the head has decided, at its step; the notes tell of returns too, where there are any. */
function decidedMarks({ learningRates, rollbacks }: Decided, notes: readonly RunNote[]): Mark[] {
  const rates = learningRates.map(({ step, scale }): Mark => ({
    step,
    kind: 'rate',
    text: `learning rate ${rateWords({ step, scale })}`,
    at: null,
  }));
  const returns = notes.length > 0 ? [] : rollbacks;
  return [
    ...rates,
    ...returns.map((rollback): Mark => ({
      step: rollback.fault.first,
      kind: 'lost',
      text: describeRollback(rollback),
      at: rollback.at,
    })),
  ];
}

/** Joins the events of all generations. A trainer that was adopted tells its events twice: each counts once. */
export function curveOf(
  lines: readonly unknown[],
  checkpoints: Curve['checkpoints'],
  generations: number,
  notes: readonly RunNote[],
): Omit<Curve, 'rollbacks'> {
  const seen = new Set<string>();
  const events: TrainerEvent[] = [];
  for (const line of lines) {
    const parsed = trainerEventSchema.safeParse(line);
    const key = JSON.stringify(line);
    if (!parsed.success || seen.has(key)) continue;
    seen.add(key);
    events.push(parsed.data);
  }
  events.sort((a, b) => a.at - b.at);
  const steps = events.filter((event) => event.event === 'step');
  return {
    points: lastOfEachStep(steps),
    evaluations: [
      ...new Map(
        events.flatMap((event) =>
          event.event === 'eval'
            ? [[event.step, { step: event.step, valBpb: event.val_bpb, valLoss: event.val_loss }]]
            : [],
        ),
      ).values(),
    ].toSorted((a, b) => a.step - b.step),
    checkpoints,
    generations,
    marks: marksOf(events, steps, notes),
    plateau: plateauOf(events),
    trainingMs: events.length === 0 ? null : Math.round((events.at(-1)!.at - events[0]!.at) * 1000),
  };
}

function plateauOf(events: readonly TrainerEvent[]): Curve['plateau'] {
  const told = events.find((event) => event.event === 'plateau');
  if (told === undefined) return null;
  const { step, end, found, bound } = told;
  return { step, end, found, bound };
}

/** Steps that were lost and computed again have the same loss; the later one tells the true speed. */
function lastOfEachStep(steps: readonly StepEvent[]): CurvePoint[] {
  const byStep = new Map<number, CurvePoint>();
  for (const event of steps) {
    const { step, loss, mfu } = event;
    const memoryBytes = event.device_memory ?? event.memory;
    byStep.set(step, {
      step,
      loss,
      learningRate: event.lr,
      tokensPerSecond: event.tokens_per_second,
      numTokens: event.num_tokens,
      gradNorm: event.grad_norm,
      ...(mfu !== undefined && { mfu }),
      ...(memoryBytes !== undefined && { memoryBytes }),
    });
  }
  return [...byStep.values()].toSorted((a, b) => a.step - b.step);
}

/** At most 400 points: neighbours become their mean, at the last one's step, with the extremes of their losses. */
export function thin(points: readonly CurvePoint[]): CurvePoint[] {
  if (points.length <= maxPoints) return [...points];
  const size = points.length / maxPoints;
  return Array.from({ length: maxPoints }, (_, index) => {
    const group = points.slice(Math.floor(index * size), Math.floor((index + 1) * size));
    const mean = (read: (point: CurvePoint) => number) =>
      group.reduce((sum, point) => sum + read(point), 0) / group.length;
    const known = (field: 'gradNorm' | 'mfu' | 'memoryBytes') => {
      const told = group.flatMap((point) => point[field] ?? []);
      if (told.length === 0) return {};
      return { [field]: told.reduce((sum, value) => sum + value, 0) / told.length };
    };
    const losses = group.map(({ loss }) => loss);
    const { step, numTokens } = group.at(-1)!;
    return {
      step,
      loss: mean((point) => point.loss),
      lossLow: Math.min(...losses),
      lossHigh: Math.max(...losses),
      learningRate: mean((point) => point.learningRate),
      tokensPerSecond: mean((point) => point.tokensPerSecond),
      ...(numTokens !== undefined && { numTokens }),
      ...known('gradNorm'),
      ...known('mfu'),
      ...known('memoryBytes'),
    };
  });
}

/** The notes of this phase on its axis of steps; with no notes left, the trainer's own starts tell of resumes. */
function marksOf(
  events: readonly TrainerEvent[],
  steps: readonly StepEvent[],
  notes: readonly RunNote[],
): Mark[] {
  if (notes.length > 0) {
    return notes.map(({ at, text }) => ({
      step: stepIn(text) ?? steps.findLast((event) => event.at * 1000 <= at)?.step ?? 0,
      kind: kindOf(text),
      text,
      at: new Date(at).toISOString(),
    }));
  }
  return events.flatMap((event): Mark[] =>
    event.event === 'start' && event.step > 0
      ? [
          {
            step: event.step,
            kind: 'resumed',
            text: `resumed from step ${event.step}`,
            at: new Date(event.at * 1000).toISOString(),
          },
        ]
      : [],
  );
}

/** What a note of the run is about. */
export function kindOf(text: string): Mark['kind'] {
  if (/\badopted\b/.test(text)) return 'adopted';
  if (/\bresumed from step\b/.test(text)) return 'resumed';
  if (/\btaken back to step\b/.test(text)) return 'lost';
  if (/\b(lost|died|hung|let go|ended|gone)\b|takes over/.test(text)) return 'lost';
  return 'other';
}

function stepIn(text: string): number | null {
  const match = /\bstep (\d+)/.exec(text);
  return match === null ? null : Number(match[1]);
}
