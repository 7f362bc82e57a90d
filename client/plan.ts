/**
 * The plan before the spend: the recipe that a run would freeze, from the statistics of the corpus
 * when it was preprocessed before, else from what is registered of a dataset, or from a look at the sources, the same
 * as that of `init`.
 */
import path from 'node:path';
import type { DatasetManifest } from '../config/manifests.ts';
import { plannedSet } from '../config/instruction-set.ts';
import { configOf, familyOf } from '../config/model-wish.ts';
import type { Pipeline } from '../config/pipeline.ts';
import {
  givenConfigSchema,
  type Machine,
  type MeasuredModel,
  type Recipe,
} from '../config/recipe.ts';
import { isBase } from '../config/start-from.ts';
import type { TokenizerRequest } from '../config/tokenizer.ts';
import type { Replay } from '../recipes/continuation.ts';
import { planAlternatives, type Alternative } from '../recipes/alternatives.ts';
import { gateWarnings } from '../recipes/gate-forecast.ts';
import { planPhases } from '../recipes/phases.ts';
import { holding, plannedTimeMs } from '../recipes/held-budget.ts';
import { planMeasured, stepsToCalibrate, type MeasuredPlan } from '../recipes/measured.ts';
import { DoesNotFit } from '../recipes/memory.ts';
import type { PlanInputs } from '../recipes/plan.ts';
import { hostsOf, machineFor, onHosts, ranksOf, wantsGpus } from '../recipes/several-hosts.ts';
import { hostPool, livingGpus, livingHosts } from '../registry/hosts.ts';
import { findMeasurement } from '../registry/measurements.ts';
import { findParent, UnknownParent, type ParentModel } from '../registry/parents.ts';
import type { Store } from '../registry/store.ts';
import { ClientError } from './errors.ts';
import { readJson } from './config-shape.ts';
import { inVocabularyOf, type CorpusFigures } from './corpus-figures.ts';
import { estimateCorpus, estimateDataset } from './estimated-corpus.ts';
import { findDataset } from './find-dataset.ts';
import { knownCorpus } from './known-corpus.ts';
import type { LookRequest } from './look-at-sources.ts';
import { baseFor, type PlannedBase } from './planned-base.ts';

export interface Plan {
  corpus: CorpusFigures;
  recipe: Recipe;
  /** In words: by what the time was planned. */
  speed: string;
  /** In words: what the plan itself says will not come out as the pipeline file asks. */
  warnings: string[];
  /** The same plan with one thing changed. */
  alternatives: Alternative[];
  /** The model from elsewhere that is adapted; null: none. */
  base: PlannedBase | null;
}

export interface PlanRequest extends LookRequest {
  machine: Machine;
  /** null: no registry to ask. */
  store: Store | null;
  /** Left out, a file that gives a configuration is not planned. */
  measure?: Measure;
  /** Left out, a file that names a tokenizer is not planned. */
  adopt?: AdoptTokenizer;
}

/** Takes over a tokenizer.json as a run would; throws a ClientError that says why it cannot be used. */
export type AdoptTokenizer = (request: TokenizerRequest) => Promise<{ vocabSize: number }>;

/** Counts a configuration of transformers, and says why it could not be served; null: it can. */
export type Measure = (
  config: MeasuredModel['config'],
) => Promise<Omit<MeasuredModel, 'config'> & { unservable: string | null }>;

/** Plans a pipeline without starting anything. */
export async function planPipeline(request: PlanRequest): Promise<Plan> {
  const { pipeline } = request;
  const machine = await machineOf(request);
  const dataset = await datasetFor(request);
  const known =
    request.store === null || pipeline.data.sample < 1
      ? null
      : await knownCorpus(
          request.store,
          dataset ?? { name: pipeline.name },
          pipeline.data.sources ?? [],
        );
  const estimated =
    known ??
    (dataset === null ? await estimateCorpus(request) : await estimateDataset(request, dataset));
  const parent = await parentFor(request);
  const base = await baseFor(request);
  const { tokenizer } = pipeline;
  const wished =
    tokenizer !== undefined && 'train' in tokenizer
      ? tokenizer.vocabSize
      : (await requireTokenizer(request))?.vocabSize;
  const vocabSize = base?.shape.vocabSize ?? parent?.tokenizer.vocabSize ?? wished;
  const corpus = vocabSize === undefined ? estimated : inVocabularyOf(vocabSize, estimated, base);
  const inputs: PlanInputs = {
    statistics: corpus.read ?? { numTokens: corpus.numTokens, bytes: corpus.bytes },
    goal: pipeline.goal,
    budgetMs: plannedTimeMs(pipeline.budget, pipeline.compute),
    stopOnPlateau: pipeline.budget.stopOnPlateau,
    prefer: pipeline.prefer,
    packing: pipeline.packing,
    machine,
    ...ranksOf(pipeline.compute, machine),
    seed: pipeline.seed,
    vocabSize: corpus.vocabSize,
    tokenizer,
    family: familyOf(pipeline),
    given: await givenFor(request),
    numChats: corpus.numChats,
    numPreferences: corpus.numPreferences,
    parent,
    replay: replayOf(pipeline, parent),
    chats: corpus.chats,
    heldOutTokens: corpus.heldOut.numTokens,
    ...(base && { base }),
    ...(pipeline.sweep && { sweep: sweepOf(pipeline, corpus) }),
  };
  const plan = (asked: PlanInputs) => planPhases(asked, pipeline.phases);
  try {
    const { store } = request;
    const planned = await planMeasured(
      inputs,
      async (load) => (store === null ? null : await findMeasurement(store, machine, load)),
      plan,
      (recipe) => onHosts(recipe, pipeline),
    );
    const { recipe, corrections, calibration } = planned;
    const held = onHosts(holding(recipe, pipeline.budget), pipeline);
    const corrected = { ...inputs, ...corrections };
    const alternatives = planAlternatives(corrected, held, pipeline.budget, plan);
    const speed =
      hostsOf(pipeline.compute) === 1
        ? speedOf(calibration, stepsToCalibrate(recipe, pipeline.budget.time))
        : speedOf(calibration, null);
    const warnings = gateWarnings(pipeline.evaluate, held);
    return { corpus, recipe: held, warnings, alternatives, speed, base };
  } catch (error) {
    if (!(error instanceof DoesNotFit)) throw error;
    throw new ClientError('input', error.message, error);
  }
}

/** The machine that will train: its GPUs as its worker says, where the pipeline asks for them. */
async function machineOf({ pipeline, machine, store }: PlanRequest): Promise<Machine> {
  const { compute } = pipeline;
  const asks = wantsGpus(compute) && store !== null;
  const gpu = asks ? await livingGpus(store, hostPool, new Date(), hostsOf(compute)) : null;
  const living = store === null ? [] : await livingHosts(store, hostPool, new Date());
  const sets = living.map((host) => host.instructionSet);
  const instructionSet = plannedSet(machine.instructionSet, sets);
  try {
    return machineFor(compute, { ...machine, instructionSet }, gpu);
  } catch (error) {
    if (!(error instanceof DoesNotFit)) throw error;
    throw new ClientError('input', error.message, error);
  }
}

/** In words: by what the time was planned. `numSteps`: how many are timed first; null: none, on several hosts. */
function speedOf(calibration: MeasuredPlan['calibration'], numSteps: number | null): string {
  if (calibration !== null) {
    return `as timed on this machine, ${calibration.numSteps} steps on ${calibration.at.slice(0, 10)}`;
  }
  if (numSteps === null) {
    return 'estimated for machines of this kind; not timed before training on several hosts';
  }
  return numSteps === 0
    ? 'estimated for machines of this kind; not timed before training, for that would take more than 3 % of its time'
    : `estimated for machines of this kind; a run times ${numSteps} steps first, and plans again`;
}

/** The rates to try, and about what they are compared on. */
function sweepOf({ sweep, data }: Pipeline, { numTokens }: CorpusFigures): PlanInputs['sweep'] {
  if (sweep === undefined) return undefined;
  const { learningRate, halving } = sweep;
  return { learningRate, halving, heldOutTokens: Math.round(numTokens * data.heldOut) };
}

/** The configuration that a file gives, as measured; undefined where it gives none. */
async function givenFor({
  pipeline,
  baseDir,
  measure,
}: PlanRequest): Promise<MeasuredModel | undefined> {
  const named = configOf(pipeline);
  if (named === null) return undefined;
  const refuse = (why: string) =>
    new ClientError('input', `model.config ${named}: ${why} Nothing was started.`);
  const config = givenConfigSchema.safeParse(await readJson(path.resolve(baseDir, named))).data;
  if (config === undefined) throw refuse('expected the JSON object of a config.json.');
  if (measure === undefined) throw refuse('nothing here can measure it; npx temper plan does.');
  const { unservable, ...measured } = await measure(config);
  if (unservable === null) return { config, ...measured };
  throw refuse(`${unservable}, so it could be neither evaluated nor served.`);
}

/** The tokenizer that a file names, taken over; null where it names none. Throws where a run would refuse it. */
export async function requireTokenizer({
  pipeline: { tokenizer },
  baseDir,
  adopt,
}: Pick<PlanRequest, 'pipeline' | 'baseDir' | 'adopt'>): Promise<{ vocabSize: number } | null> {
  if (tokenizer === undefined || !('from' in tokenizer)) return null;
  const { from } = tokenizer;
  const refuse = (why: string) => new ClientError('input', `${why} Nothing was started.`);
  if (adopt === undefined) {
    throw refuse(`tokenizer.from: ${from}: nothing here can look at it; npx temper plan does.`);
  }
  try {
    return await adopt({ baseDir, from });
  } catch (error) {
    if (!(error instanceof ClientError) || error.kind !== 'input') throw error;
    throw refuse(error.message);
  }
}

/** The model that a pipeline goes on from; null when it starts from scratch. */
export async function parentFor({
  pipeline,
  store,
}: Pick<PlanRequest, 'pipeline' | 'store'>): Promise<ParentModel | null> {
  const { startFrom } = pipeline;
  if (startFrom === 'scratch' || isBase(startFrom)) return null;
  if (store === null) {
    throw new ClientError(
      'unreachable',
      `startFrom: ${startFrom} stands in the registry, which does not answer: npx temper up starts it.`,
    );
  }
  try {
    const asItIs = pipeline.phases?.includes('pretrain') === false;
    return await findParent(store, startFrom, { asItIs });
  } catch (error) {
    if (!(error instanceof UnknownParent)) throw error;
    throw new ClientError('input', `${error.message} Nothing was started.`, error);
  }
}

/** What is older is not known before the run has parted it. */
function replayOf({ data }: Pipeline, parent: ParentModel | null): Replay | undefined {
  const { replay: share } = data;
  return share === undefined || parent === null ? undefined : { share, numTokens: null };
}

/** The dataset version that the file names; null where it names sources. Throws a ClientError for one that there is not. */
export async function datasetFor({
  pipeline,
  store,
}: Pick<PlanRequest, 'pipeline' | 'store'>): Promise<DatasetManifest | null> {
  const { dataset } = pipeline.data;
  if (dataset === undefined) return null;
  if (store !== null) return await findDataset(store, dataset, 'data.dataset');
  throw new ClientError(
    'unreachable',
    `data.dataset: ${dataset} is in the registry, which does not answer. Start the stack: npx temper up. Nothing was started.`,
  );
}
