/** Gathers the facts of a run: Temporal tells what happened, S3 what it read and made. */
import { stringify } from 'yaml';
import { isEmbeddingMetric } from '../../config/embeddings.ts';
import type { GateMetric } from '../../config/gates.ts';
import { evaluationSchema, type CorpusManifest } from '../../config/manifests.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import type { Recipe } from '../../config/recipe.ts';
import { chosenTrial, readDecisions } from '../../registry/decisions.ts';
import { getModel } from '../../registry/models.ts';
import { findStage, stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { stageNames, type StageName } from '../../workflows/messages.ts';
import { readBudget } from '../budget.ts';
import { gatherLedger, type Counted, type Ledger, type PhaseData } from '../ledger/ledger.ts';
import { stageOfPhase } from '../live-status.ts';
import { unknownRun, type RunRequest } from '../unknown-run.ts';
import { readData } from './data.ts';
import { traceHistory } from './history.ts';
import { lineageOf } from './lineage.ts';
import { phaseRecipe, trainerOf } from './phases.ts';
import {
  runReportSchema,
  type DataReport,
  type PhaseReport,
  type RunReport,
} from './run-report.ts';
import { traceStored } from './stored.ts';
import { phaseOrder, type Trace } from './trace.ts';
import { readCurve, thin, type Curve } from './training.ts';

export interface GatherRequest extends RunRequest {
  now: Date;
  /** The checkout that makes the report. */
  code: { commit: string; changed: boolean } | null;
  /** Counts for the ledger; left out, there is none in the report. */
  count?: (phases: PhaseData[]) => Promise<Counted[]>;
}

/** The whole report; throws a ClientError for a run that nobody knows. */
export async function gatherReport(request: GatherRequest): Promise<RunReport> {
  const { store, run, now, code } = request;
  const trace = await traceRun(request);
  const read = await readData(store, trace);
  const version = trace.model && (await getModel(store, trace.model.name, trace.model.version));
  const recipe = trace.recipes.at(-1) ?? null;
  const phases = (await phaseReports(store, run, trace)).map((phase) => ({
    ...phase,
    points: thin(phase.points),
  }));
  const { ledger, missing: unledgered } = await ledgerOf(request, trace);
  const bundle = version?.bundle ?? null;
  const lineage = lineageOf({ run, trace, manifest: read?.manifest ?? null, version, code });
  return runReportSchema.parse({
    schemaVersion: 1,
    run,
    madeAt: now.toISOString(),
    state: trace.state,
    failure: trace.failure,
    startedAt: isoOf(trace.startedAt),
    endedAt: isoOf(trace.endedAt),
    machine: trace.machine,
    goal: trace.pipeline?.goal ?? null,
    model: trace.model && {
      ...trace.model,
      bundle: bundle?.digest ?? null,
      onnxBytes: bundle?.manifest.files['model.onnx']?.bytes ?? null,
      exact: version?.lineage.exact ?? null,
    },
    endpoint: trace.endpoint,
    parent: trace.parent && { name: trace.parent.name, version: trace.parent.version },
    base: trace.base && lineageBase(trace.base),
    missing: [...trace.missing, ...missingParts(trace, read, phases), ...unledgered],
    plan: recipe && {
      recipe,
      digest: stageDigest(recipe),
      comparisons: compare(recipe, trace, phases),
      earlierRounds: trace.failedGates.map(({ round, failures }) => ({
        round,
        failedGates: failures,
      })),
    },
    phases,
    sweep: (await readDecisions(store, run))?.sweep ?? [],
    budget: await heldBudget(store, run, now),
    ledger,
    evaluations: await wholeEvaluations(store, trace),
    gates: trace.pipeline === null ? [] : gatesOf(trace.pipeline, trace),
    data: read?.data ?? null,
    stages: lineage.stages,
    notes: trace.notes.map(({ at, stage, text }) => ({ at: isoOf(at), stage, text })),
    repeat: {
      code,
      pipeline: trace.pipeline && pipelineText(pinned(trace.pipeline, trace)),
      commands: lineage.commands,
      orders: phases.flatMap(({ phase, learningRates }) =>
        learningRates.map((change) => ({ phase, ...change })),
      ),
      compare: lineage.compare,
    },
  } satisfies Record<keyof RunReport, unknown>);
}

/** What is known of a run; throws a ClientError for one that nobody knows. */
export async function traceRun(request: RunRequest): Promise<Trace> {
  const { temporal, store, run } = request;
  if (!/^[a-z][a-z0-9-]{1,59}$/.test(run)) throw await unknownRun(request);
  const told = temporal === null ? null : await traceHistory(temporal, run);
  const trace = told ?? (await traceStored(store, run));
  if (trace === null) throw await unknownRun(request);
  return trace;
}

/** The resolved pipeline as a file that `temper run` takes. */
export function pipelineText(pipeline: Pipeline): string {
  const { time } = pipeline.budget;
  const budget = { ...pipeline.budget, time: time % 1000 === 0 ? `${time / 1000}s` : `${time}ms` };
  return stringify({ ...pipeline, budget }, { lineWidth: 0 });
}

/** The champion of today is not the one that this run went on from, nor the newest version of a dataset the one it read. */
function pinned(pipeline: Pipeline, { parent, dataset }: Trace): Pipeline {
  const { data } = pipeline;
  return {
    ...pipeline,
    ...(parent !== null && { startFrom: `${parent.name}@${parent.version}` }),
    ...(data.dataset !== undefined &&
      dataset !== null && {
        data: { ...data, dataset: `${dataset.name}@${dataset.version}` },
      }),
  };
}

function lineageBase({ name, title, license, weights }: NonNullable<Trace['base']>) {
  return { name, title, license, weights };
}

/** Every phase in its newest round, with a point for each step. */
export async function phaseReports(
  store: Store,
  run: string,
  trace: Trace,
): Promise<PhaseReport[]> {
  const recipe = trace.recipes.at(-1) ?? null;
  const reports: PhaseReport[] = [];
  for (const { phase, round } of lastRounds(trace)) {
    const stage = stageOfPhase[phase];
    if (stage === undefined) continue;
    const model = trace.models.findLast((one) => one.phase === phase && one.round === round);
    const planned = recipe?.round === round ? phaseRecipe(recipe, phase) : null;
    const notes = trace.notes.filter((note) => note.stage === stage);
    let trainedBy = run;
    const own = { run, phase, round };
    const trial = await chosenTrial(store, own);
    let curve: Curve | null = await readCurve(store, { ...own, trial }, notes);
    if (curve === null && model?.weights != null) {
      const other = await trainerOf(store, phase, model.weights);
      if (other !== null) {
        trainedBy = other.run;
        curve = await readCurve(store, { ...other, phase }, []);
      }
    }
    reports.push({
      phase,
      stage,
      round,
      trainedBy,
      reused: model?.reused ?? false,
      numSteps: planned?.numSteps ?? model?.numSteps ?? null,
      seed: planned?.seed ?? null,
      plannedLoss: phase === 'pretrain' && planned ? recipe!.estimate.finalLoss : null,
      finalLoss: model?.finalLoss ?? null,
      numTokens: model?.numTokens ?? null,
      learningRates: model?.learningRates ?? [],
      adapted: model?.adapted ?? null,
      weights: model?.weights ?? null,
      ...(curve ?? {
        points: [],
        evaluations: [],
        checkpoints: [],
        generations: 0,
        marks: [],
        trainingMs: null,
        rollbacks: [],
        plateau: null,
      }),
    });
  }
  return reports;
}

async function heldBudget(store: Store, run: string, now: Date): Promise<RunReport['budget']> {
  const budget = await readBudget(store, run, now);
  return budget?.whenSpent == null ? null : budget;
}

/** The ledger, where there is somebody to count; a report is worth reading without it. */
async function ledgerOf(
  { store, run, count }: GatherRequest,
  trace: Trace,
): Promise<{ ledger: Ledger | null; missing: string[] }> {
  if (count === undefined || trace.trials.length === 0) return { ledger: null, missing: [] };
  try {
    return { ledger: await gatherLedger({ store, run, trace, count }), missing: [] };
  } catch (error) {
    if (error instanceof Error && error.name.startsWith('Store')) throw error;
    return { ledger: null, missing: [`No token ledger: ${(error as Error).message}`] };
  }
}

/** The newest round of each phase. */
function lastRounds({ trials }: Trace): Trace['trials'] {
  return phaseOrder.flatMap((phase) => {
    const last = trials
      .filter((trial) => trial.phase === phase)
      .toSorted((a, b) => a.round - b.round)
      .at(-1);
    return last === undefined ? [] : [last];
  });
}

function compare(
  { estimate, pretrain, numParameters }: Recipe,
  { evaluations, models, state }: Trace,
  phases: readonly PhaseReport[],
): NonNullable<RunReport['plan']>['comparisons'] {
  const base = evaluations.find(({ stage }) => stage === 'evaluate-base')?.evaluation;
  const pretrained = models.findLast(({ phase }) => phase === 'pretrain');
  const times = phases.map(({ trainingMs }) => trainingMs);
  const whole = state === 'finished' && !times.includes(null);
  const trainingMs = whole ? times.reduce<number>((sum, ms) => sum + ms!, 0) : null;
  const numTokens =
    pretrain === null ? 0 : pretrain.numSteps * pretrain.batchSize * pretrain.contextLength;
  const { finalLoss } = estimate;
  const about = (value: number, share: number) => ({
    value,
    low: value * (1 - share),
    high: value * (1 + share),
  });
  const time = judged(
    'trainingMs',
    { value: estimate.trainingMs, low: estimate.trainingMsLow, high: estimate.trainingMsHigh },
    trainingMs,
  );
  if (pretrain === null) return [time];
  const { mask } = pretrain;
  return [
    // Of hidden words the loss says it.
    ...(mask === undefined
      ? [
          judged(
            'valBpb',
            { value: null, low: estimate.valBpbLow, high: estimate.valBpbHigh },
            base?.metrics['valBpb']?.value ?? null,
          ),
        ]
      : []),
    judged('finalLoss', about(finalLoss, 0.05), pretrained?.finalLoss ?? null),
    time,
    judged('numTokens', about(numTokens, 0), pretrained?.numTokens ?? null),
    judged('numParameters', about(numParameters, 0), pretrained ? numParameters : null),
  ];
}

type Comparison = NonNullable<RunReport['plan']>['comparisons'][number];

/** Lower is better for what is judged; what must be equal has a band of no width. */
function judged(
  what: Comparison['what'],
  planned: Comparison['planned'],
  found: number | null,
): Comparison {
  if (found === null) return { what, planned, found, verdict: 'not there yet' };
  if (found >= planned.low && found <= planned.high)
    return { what, planned, found, verdict: 'as planned' };
  const lessIsBetter = what !== 'numTokens' && what !== 'numParameters';
  return {
    what,
    planned,
    found,
    verdict: found < planned.low === lessIsBetter ? 'better' : 'worse',
  };
}

/** Bits a byte are judged after pretraining, answers and preferences at the end. */
function gatesOf({ evaluate }: Pipeline, { evaluations }: Trace): RunReport['gates'] {
  return (Object.keys(evaluate.gates) as GateMetric[]).flatMap((metric) => {
    const bound = evaluate.gates[metric];
    if (bound === undefined) return [];
    const read = metric === 'valBpb' || isEmbeddingMetric(metric);
    const stage: StageName = read ? 'evaluate-base' : 'evaluate';
    const measured = evaluations.find((one) => one.stage === stage)?.evaluation.metrics[metric];
    const value = measured?.value ?? null;
    const { min, max } = bound;
    const passed =
      value === null
        ? null
        : (min === undefined || value >= min) && (max === undefined || value <= max);
    return [{ metric, min: min ?? null, max: max ?? null, value, passed }];
  });
}

/** With their samples, in the order of the stages. */
async function wholeEvaluations(
  store: Store,
  { evaluations }: Trace,
): Promise<RunReport['evaluations']> {
  const whole = evaluations.map(async ({ stage, record, evaluation }) => {
    const stored =
      record === null ? null : await findStage(store, 'evaluate', record, evaluationSchema);
    return { stage, evaluation: stored ?? evaluation };
  });
  return (await Promise.all(whole)).toSorted(
    (a, b) => stageNames.indexOf(a.stage) - stageNames.indexOf(b.stage),
  );
}

/** What a reader would look for and not find, with the reason. */
function missingParts(
  { state, recipes, evaluations, model, training }: Trace,
  read: { data: DataReport; manifest: CorpusManifest | null } | null,
  phases: readonly PhaseReport[],
): string[] {
  const still = {
    running: 'the run goes on: make the report again later',
    failed: 'the run failed before it',
    cancelled: 'the run was cancelled before it',
    finished: 'it is not stored',
    unknown: 'nothing of it is stored',
  }[state];
  const parts: string[] = [];
  if (read === null) parts.push(`No dataset: ${still}.`);
  else if (read.manifest === null) parts.push(`No corpus: ${still}.`);
  if (recipes.length === 0) parts.push(`No plan: ${still}.`);
  if (phases.length === 0) parts.push(`No training: ${still}.`);
  for (const { phase, points } of phases) {
    if (training?.phase === phase) {
      const { step, numSteps, loss } = training;
      const at = loss === null ? '' : `, loss ${loss.toFixed(2)}`;
      parts.push(
        `${phase} is at step ${step} of ${numSteps}${at}: its curve is stored every 15 s at first, then more seldom.`,
      );
    } else if (points.length === 0) parts.push(`No curve of ${phase}: no step of it is stored.`);
  }
  if (evaluations.length === 0) parts.push(`No evaluation: ${still}.`);
  if (model === null) parts.push(`No model version: ${still}.`);
  return parts;
}

function isoOf(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
