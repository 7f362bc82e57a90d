/**
 * Plans against what came of them: real runs through the pipeline, from a small model to adapters of SmolLM2. The time
 * that `temper plan` prints before anything is started, that of the run's own plan, of the same steps once the machine
 * was calibrated, and the loss that was expected.
 */
import path from 'node:path';
import { defaultPayloadConverter } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import {
  createCalibrateActivities,
  type CalibrationInput,
  type CalibrationOutcome,
} from '../activities/calibrate.ts';
import type { TrainedModel } from '../activities/training-job.ts';
import { planPipeline } from '../client/plan.ts';
import { corpusManifestSchema } from '../config/manifests.ts';
import { pipelineSchema, type Pipeline } from '../config/pipeline.ts';
import type { Machine, ReadingRecipe } from '../config/recipe.ts';
import { surveyFolder } from '../corpus/survey.ts';
import { trainerEventSchema, type TrainerEvent } from '../config/trainer.ts';
import { projectDir, python } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { calibratedSteps } from '../recipes/measured.ts';
import { findStage } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { readEvents } from '../registry/training.ts';
import { workflowId } from '../workflows/messages.ts';
import type { TrainingInput } from '../workflows/training.ts';
import { say, type Measured } from './support/bench.ts';
import { corpora, requireSources, writeCorpus, type CorpusName } from './support/corpora.ts';
import { median } from './support/figures.ts';
import { runPipeline, withHome, withStack, type BenchStack } from './support/stack.ts';

interface RealRun {
  title: string;
  corpus: CorpusName;
  /** Training time that the planner is given. */
  seconds: number;
  startFrom?: string;
  /** The run whose model it goes on from, in the same home. */
  after?: string;
}

/** From few parameters on little text, read again and again, to adapters around 135M. */
export const realRuns = {
  small: { title: '300 KB of English law', corpus: 'law-en', seconds: 35 },
  dialogue: { title: 'English dialogue', corpus: 'dialogue', seconds: 40 },
  'law-zh': { title: 'Chinese law', corpus: 'law-zh', seconds: 50 },
  novels: { title: 'English novels', corpus: 'novels', seconds: 50 },
  continued: {
    title: 'English novels, continued',
    corpus: 'novels',
    seconds: 40,
    startFrom: 'novels@1',
    after: 'novels',
  },
  adapted: {
    title: 'English law, SmolLM2 by LoRA',
    corpus: 'law-en',
    seconds: 130,
    startFrom: 'smollm2',
  },
} as const satisfies Record<string, RealRun>;
export type RealRunName = keyof typeof realRuns;

export interface Outcome {
  name: RealRunName;
  numParameters: number;
  numSteps: number;
  epochs: number;
  /** By the plan that is printed before the start, from a look at the documents. */
  printed: { seconds: number };
  /** By the run's own plan, from the text as it was read. */
  planned: { seconds: number; bitsPerByte: number };
  calibrated: { stepMs: number; seconds: number } | null;
  measured: { seconds: number; bitsPerByte: number };
  /** Where the time went, in seconds; the rest of the steps' time is that of saves. */
  parts: Record<'start' | 'steps' | 'scoring' | 'writing' | 'storing' | 'medianStepMs', number>;
}

const bounds = { printed: 0.3, calibrated: 0.15, loss: 0.1 };

/** Runs what is named, and what that goes on from, in one home. */
export async function measureReality({
  data: given,
  runs,
  keep,
}: {
  data: string | undefined;
  runs: readonly RealRunName[];
  keep: boolean;
}): Promise<Measured> {
  const wanted = (name: RealRunName) =>
    runs.includes(name) || runs.some((other) => afterOf(other) === name);
  const names = (Object.keys(realRuns) as RealRunName[]).filter(wanted);
  const data = requireSources(
    given,
    names.map((name) => realRuns[name].corpus),
  );
  return await withHome('planner', { keep }, (home) =>
    withStack(home, async (stack) => {
      const outcomes: Outcome[] = [];
      for (const name of names) {
        const needed = names.some((other) => afterOf(other) === name);
        outcomes.push(await run(stack, home, { name, data, toTheEnd: needed }));
      }
      return conclude(outcomes);
    }),
  );
}

function afterOf(name: RealRunName): string | undefined {
  const run: RealRun = realRuns[name];
  return run.after;
}

async function run(
  stack: BenchStack,
  home: string,
  { name, data, toTheEnd }: { name: RealRunName; data: string; toTheEnd: boolean },
): Promise<Outcome> {
  const { corpus, seconds, startFrom }: RealRun = realRuns[name];
  const documents = path.join(home, 'documents', corpus);
  writeCorpus(corpus, data, documents);
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: corpus,
    data: { sources: [{ path: documents, license: 'public' }], heldOut: corpora[corpus].heldOut },
    ...(startFrom !== undefined && { startFrom }),
    phases: ['pretrain'],
    budget: { time: `${seconds}s` },
  });
  const id = `planner-${name}`;
  const machine = describeMachine();
  const request = { pipeline, baseDir: home, machine };
  const printed = await printedPlan({ ...request, store: stack.store });
  const status = await runPipeline(stack, { ...request, run: id }, ({ stages }) =>
    toTheEnd
      ? false
      : stages.some(({ name: stage, endedAt }) => stage === 'pretrain' && endedAt !== null),
  );
  const { recipe, state, failure } = status;
  if (recipe === null || recipe.pretrain === null || !['running', 'finished'].includes(state)) {
    throw new Error(`run ${id} ${state}: ${failure ?? 'no recipe'}`);
  }
  if (state === 'running') await stack.temper.cancel(id, 'its training was all that was needed');
  for await (const { state: now } of stack.temper.followStatus(id)) if (now !== 'running') break;
  const own = { ...recipe, pretrain: recipe.pretrain };
  const outcome = { ...(await outcomeOf(stack, home, name, own)), printed };
  tell(outcome);
  return outcome;
}

/** The time that `temper plan` prints for a pipeline, with nothing of it started. */
export async function printedPlan(request: {
  pipeline: Pipeline;
  baseDir: string;
  machine: Machine;
  store: Store | null;
}): Promise<Outcome['printed']> {
  const { recipe } = await planPipeline({ ...request, projectDir, look: surveyFolder });
  return { seconds: recipe.estimate.trainingMs / 1000 };
}

async function outcomeOf(
  stack: BenchStack,
  home: string,
  name: RealRunName,
  recipe: ReadingRecipe,
): Promise<Omit<Outcome, 'printed'>> {
  const id = `planner-${name}`;
  const training = stack.temporal.workflow.getHandle<() => Promise<TrainedModel>>(
    workflowId.training(id, 'pretrain', 0),
  );
  const { startTime, closeTime } = await training.describe();
  const { adapted, reused } = await training.result();
  if (reused || closeTime === undefined)
    throw new Error(`${id}: found a model that was trained before`);
  const { estimate, pretrain, numParameters } = recipe;
  const { numSteps, batchSize, contextLength } = pretrain;
  const stepMs = await calibrate(stack, home, id);
  const events = await eventsOf(stack, id);
  return {
    name,
    numParameters,
    numSteps,
    epochs: (numSteps * batchSize * contextLength) / (await tokensOf(stack, id)),
    planned: {
      seconds: estimate.trainingMs / 1000,
      bitsPerByte: (estimate.valBpbLow + estimate.valBpbHigh) / 2,
    },
    calibrated: stepMs === null ? null : { stepMs, seconds: secondsAt(stepMs, recipe) },
    measured: {
      seconds: (closeTime.getTime() - startTime.getTime()) / 1000,
      bitsPerByte: adapted?.valBpb ?? lastBitsPerByte(events),
    },
    parts: partsOf(events, startTime.getTime() / 1000, closeTime.getTime() / 1000),
  };
}

/** The planned time, were a step to take so long. */
function secondsAt(stepMs: number, { estimate, pretrain }: ReadingRecipe): number {
  const planned = estimate.time?.find(({ phase }) => phase === 'pretrain');
  if (planned === undefined) throw new Error('found a plan without the time of its pretraining');
  const { startMs, stepsMs, scoringMs, modelMs } = planned;
  const pace = stepMs / (stepsMs / pretrain.numSteps);
  return (startMs + (stepsMs + scoringMs) * pace + modelMs) / 1000;
}

function partsOf(events: readonly TrainerEvent[], began: number, ended: number): Outcome['parts'] {
  const { at: start } = events.find(({ event }) => event === 'start')!;
  const { at: last } = events.findLast(({ event }) => event === 'eval')!;
  // What comes between a step and the score that follows it is the scoring.
  const told = events.filter(({ event }) => event !== 'working');
  const scoring = told.reduce((sum, event, index) => {
    const before = told[index - 1];
    return event.event === 'eval' && before !== undefined ? sum + event.at - before.at : sum;
  }, 0);
  const { at: written } = events.findLast(({ event }) => event === 'end')!;
  const steps = events.filter(({ event }) => event === 'step').map(({ at }) => at);
  const taken = steps.slice(1).map((at, index) => (at - steps[index]!) * 1000);
  return {
    start: start - began,
    steps: last - start - scoring,
    scoring,
    writing: written - last,
    storing: ended - written,
    medianStepMs: median(taken),
  };
}

/** Of the text that is trained on, as the plan knew it. */
async function tokensOf({ temporal, store }: BenchStack, id: string): Promise<number> {
  const { corpus } = await temporal.workflow
    .getHandle<() => Promise<{ corpus: string }>>(workflowId.preprocess(id))
    .result();
  const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  if (manifest === null) throw new Error(`stages/preprocess/${corpus}: found nothing`);
  return manifest.statistics.numTokens;
}

/** Times a few steps of what was trained, as the pipeline does before a long run; null where it could not. */
async function calibrate(
  { temporal, store }: BenchStack,
  home: string,
  id: string,
): Promise<number | null> {
  const handle = temporal.workflow.getHandle(workflowId.training(id, 'pretrain', 0));
  const { events } = await handle.fetchHistory();
  const payload = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
  if (payload == null) throw new Error(`${id}: found no input of its training`);
  const { recipe, shape, machine, corpus, init, rehearsal } =
    defaultPayloadConverter.fromPayload<TrainingInput>(payload);
  const activities = createCalibrateActivities({
    store,
    home: path.join(home, 'calibration'),
    python,
    projectDir,
    host: 'bench',
    now: () => new Date(),
  });
  const input: CalibrationInput = {
    job: {
      trial: { run: `${id}-calibration`, phase: 'pretrain', round: 0, trial: 0 },
      recipe,
      shape,
      machine,
      corpus,
      init,
      ...(rehearsal !== undefined && { rehearsal }),
    },
    numSteps: calibratedSteps.timed,
    limitMs: 120_000,
  };
  const environment = new MockActivityEnvironment();
  const outcome: CalibrationOutcome = await environment.run(() =>
    activities.calibrateTraining(input),
  );
  if (outcome.note !== null) say(`  not calibrated: ${outcome.note}`);
  return outcome.stepMs;
}

async function eventsOf({ store }: BenchStack, id: string): Promise<TrainerEvent[]> {
  const stored = await readEvents(store, { run: id, phase: 'pretrain', round: 0, trial: 0 });
  return stored.map((event) => trainerEventSchema.parse(event));
}

function lastBitsPerByte(events: readonly TrainerEvent[]): number {
  const scored = events.findLast((event) => event.event === 'eval');
  if (scored === undefined) throw new Error('found no held-out loss among the events of a run');
  return scored.val_bpb;
}

const off = (ratio: number) =>
  `${ratio >= 1 ? '+' : '−'}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;

function ratiosOf({ printed, planned, calibrated, measured }: Outcome) {
  return {
    printed: measured.seconds / printed.seconds,
    planned: measured.seconds / planned.seconds,
    calibrated: calibrated && measured.seconds / calibrated.seconds,
    loss: measured.bitsPerByte / planned.bitsPerByte,
  };
}

function tell(outcome: Outcome): void {
  const { name, numParameters, numSteps, epochs, printed, planned, calibrated, measured } = outcome;
  const ratios = ratiosOf(outcome);
  say(
    `${realRuns[name].title}: ${(numParameters / 1e6).toFixed(2)}M, ${numSteps} steps, ${epochs.toFixed(2)} epochs`,
  );
  say(
    `  ${measured.seconds.toFixed(1)} s, printed before the start ${printed.seconds.toFixed(1)} (${off(ratios.printed)}), planned by the run ${planned.seconds.toFixed(1)} (${off(ratios.planned)}), calibrated ${calibrated?.seconds.toFixed(1) ?? 'not'} (${ratios.calibrated === null ? '–' : off(ratios.calibrated)})`,
  );
  const { medianStepMs, ...parts } = outcome.parts;
  const told = Object.entries(parts).map(([part, seconds]) => `${part} ${seconds.toFixed(1)}`);
  say(
    `  of it ${told.join(', ')} s; a step ${medianStepMs.toFixed(0)} ms, calibrated ${calibrated?.stepMs.toFixed(0) ?? 'not'}`,
  );
  say(
    `  ${measured.bitsPerByte.toFixed(3)} bits a byte, expected ${planned.bitsPerByte.toFixed(3)} (${off(ratios.loss)})`,
  );
}

/** The furthest of all runs from each promise. */
export function conclude(outcomes: readonly Outcome[]): Measured {
  const distances = (kind: keyof ReturnType<typeof ratiosOf>) =>
    outcomes.map((outcome) => {
      const ratio = ratiosOf(outcome)[kind];
      return ratio === null ? Infinity : Math.abs(ratio - 1);
    });
  const worst = (kind: keyof ReturnType<typeof ratiosOf>) => {
    const value = Math.max(...distances(kind));
    return Number.isFinite(value) ? value : null;
  };
  return {
    figures: {
      runs: outcomes.map((outcome) => ({ ...outcome, ratios: ratiosOf(outcome) })),
      furthestFromOwnPlan: worst('planned'),
    },
    bounds: [
      {
        name: 'time, furthest from the first printed plan',
        value: worst('printed'),
        max: bounds.printed,
      },
      {
        name: 'time, furthest from the calibrated plan',
        value: worst('calibrated'),
        max: bounds.calibrated,
      },
      { name: 'held-out loss, furthest from the expected', value: worst('loss'), max: bounds.loss },
    ],
  };
}
