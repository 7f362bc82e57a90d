/** What distinguishes two runs: how each was made, how it learnt, what came of it, and whether the bits are the same. Pure. */
import { phasesOf } from '../config/recipe.ts';
import type { PhaseReport, RunReport } from './report/run-report.ts';
import { adaptedWords, baseWords, count, duration, rateWords } from './report/words.ts';
import { joinFacts, recipeFields, type DiffRow, type Facts } from './side-by-side.ts';

export interface RunComparison {
  a: string;
  b: string;
  rows: DiffRow[];
  /** Digests that both have, by whether they are equal; what only one has says nothing of the bits. */
  digests: { equal: string[]; differing: string[] };
}

const parts = ['made', 'data', 'recipe', 'loss', 'evaluation', 'time', 'digest'];
/** Where the losses are compared, as shares of the shorter of two trainings. */
const marks = [0.1, 0.25, 0.5, 0.75, 1];
/** Single steps jump: a loss is the mean over this share before the mark. */
const smoothing = 0.05;
const phaseWords: Record<string, string> = {
  pretrain: 'tokens',
  sft: 'chats',
  dpo: 'preferences',
  orpo: 'preferences',
};

export function compareRuns(a: RunReport, b: RunReport): RunComparison {
  const losses = lossesAtEqual(a, b);
  const left = factsOf(
    a,
    losses.map(([field, loss]) => [field, loss]),
  );
  const right = factsOf(
    b,
    losses.map(([field, , loss]) => [field, loss]),
  );
  const rows = joinFacts(parts, left, right);
  const both = rows.filter((row) => row.part === 'digest' && row.a !== null && row.b !== null);
  const fields = (found: DiffRow[]) => found.map(({ field }) => field);
  return {
    a: a.run,
    b: b.run,
    rows,
    digests: {
      equal: fields(both.filter((row) => row.a === row.b)),
      differing: fields(both.filter((row) => row.a !== row.b)),
    },
  };
}

function factsOf(report: RunReport, losses: [field: string, loss: number][]): Facts {
  const { state, startedAt, endedAt, machine, model, parent, data, plan, phases } = report;
  const facts: Facts = new Map();
  const say = (part: string, field: string, value: string | number | null | undefined) => {
    if (value !== null && value !== undefined) facts.set(field, { part, value });
  };
  say('made', 'state', state);
  say('made', 'goal', report.goal);
  say(
    'made',
    'machine',
    machine && `${machine.cores} × ${machine.device} ${machine.instructionSet}`,
  );
  say('made', 'version', model && `${model.name}@${model.version}`);
  say('made', 'goes on from', parent && `${parent.name}@${parent.version}`);
  say('made', 'adapts', report.base && baseWords(report.base));
  say('data', 'dataset', data && `${data.dataset.name}@${data.dataset.version}`);
  say('data', 'documents', data?.dataset.numDocuments);
  say('data', 'tokens', data?.corpus?.numTokens);
  say('data', 'vocabulary', data?.corpus?.vocabSize);
  for (const [field, value] of plan === null ? [] : recipeFields(plan.recipe)) {
    say('recipe', field, value);
  }
  say('recipe', 'pretrain: rate as found', foundRate(report));
  for (const [field, loss] of losses) say('loss', field, loss);
  for (const { phase, learningRates, finalLoss, adapted } of phases) {
    if (adapted !== null) say('evaluation', `${phase}: adapted`, adaptedWords(adapted));
    const changes = learningRates.map(rateWords).join(', ');
    if (changes !== '') say('recipe', `${phase}: rate as ordered`, changes);
    say('loss', `${phase} at its end`, finalLoss);
  }
  for (const { stage, evaluation } of report.evaluations) {
    for (const [metric, { value }] of Object.entries(evaluation.metrics)) {
      say('evaluation', `${stage}: ${metric}`, Number(value.toPrecision(4)));
    }
  }
  if (startedAt !== null && endedAt !== null) {
    say('time', 'whole run', duration(Date.parse(endedAt) - Date.parse(startedAt)));
  }
  for (const { phase, trainingMs, points, generations, reused } of phases) {
    if (trainingMs !== null)
      say('time', phase, `${duration(trainingMs)}${reused ? ', reused' : ''}`);
    const speed = median(points.map(({ tokensPerSecond }) => tokensPerSecond));
    if (speed !== null) say('time', `${phase}: tokens a second`, Math.round(speed));
    if (generations > 0) say('time', `${phase}: generations`, generations);
  }
  for (const { what, digest } of report.repeat.compare) {
    say('digest', what === 'dataset' ? 'dataset digest' : what, digest);
  }
  return facts;
}

/** The rate that was left of those that were tried, such as `×2 (0.04) of ×1, ×2, ×4`; null where none were. */
function foundRate({ sweep = [] }: RunReport): string | null {
  const last = sweep.at(-1);
  const rungs = sweep.filter(({ round }) => round === last?.round);
  const found = last?.trials.find(({ trial }) => trial === last.goesOn[0]);
  if (found === undefined || rungs[0] === undefined) return null;
  const tried = rungs[0].trials.map(({ multiple }) => `×${multiple}`).join(', ');
  return `×${found.multiple} (${Number(found.learningRate.toPrecision(4))}) of ${tried}`;
}

/** A row for each mark: `pretrain at 500,000 tokens`, and the loss of both there. */
function lossesAtEqual(a: RunReport, b: RunReport): [field: string, a: number, b: number][] {
  return a.phases.flatMap((one) => {
    const other = b.phases.find(({ phase }) => phase === one.phase);
    const [left, right] = [curveOf(a, one), other === undefined ? null : curveOf(b, other)];
    if (left === null || right === null) return [];
    const shorter = Math.min(left.at(-1)!.at, right.at(-1)!.at);
    return marks.map((share): [string, number, number] => {
      const mark = share * shorter;
      const [from, name] = [mark - smoothing * shorter, phaseWords[one.phase] ?? 'rows'];
      return [
        `${one.phase} at ${count(mark)} ${name}`,
        lossBetween(left, from, mark),
        lossBetween(right, from, mark),
      ];
    });
  });
}

type Curve = { at: number; loss: number }[];

/** Loss over what was trained on: tokens of pretraining, rows of the other phases. */
function curveOf({ plan }: RunReport, { phase, points }: PhaseReport): Curve | null {
  const recipe = plan && phasesOf(plan.recipe).find((found) => found.phase === phase);
  if (recipe == null || points.length === 0) return null;
  const { batchSize, contextLength } = recipe;
  const aStep = phase === 'pretrain' ? batchSize * contextLength : batchSize;
  return points.map(({ step, loss }) => ({ at: step * aStep, loss }));
}

/** Mean of the points in between; where none lies there, the nearest. */
function lossBetween(curve: Curve, from: number, to: number): number {
  const within = curve.filter(({ at }) => at > from && at <= to);
  if (within.length === 0) {
    const nearest = curve.reduce((best, point) =>
      Math.abs(point.at - to) < Math.abs(best.at - to) ? point : best,
    );
    return Number(nearest.loss.toFixed(4));
  }
  const sum = within.reduce((total, { loss }) => total + loss, 0);
  return Number((sum / within.length).toFixed(4));
}

function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}
