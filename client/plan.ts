/**
 * The plan before the spend: the recipe that a run would freeze, from the statistics of the corpus
 * when it was preprocessed before, else from what is registered of a dataset, or from a look at the sources, the same
 * as that of `init`.
 */
import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../config/digest.ts';
import type { HeldOutSize } from '../config/held-out.ts';
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../config/manifests.ts';
import type { LearningCurve } from '../config/learning-curve.ts';
import { plannedSet } from '../config/instruction-set.ts';
import { isMixed, timesRead } from '../config/mixing.ts';
import { configOf, familyOf } from '../config/model-wish.ts';
import type { Pipeline } from '../config/pipeline.ts';
import {
  givenConfigSchema,
  type Machine,
  type MeasuredModel,
  type Recipe,
} from '../config/recipe.ts';
import { mixedSources, sourceName, type Source } from '../config/sources.ts';
import { isBase } from '../config/start-from.ts';
import type { Survey, SurveyRequest } from '../config/survey.ts';
import type { TokenizerRequest } from '../config/tokenizer.ts';
import type { Replay } from '../recipes/continuation.ts';
import { planAlternatives, type Alternative } from '../recipes/alternatives.ts';
import { planPhases } from '../recipes/phases.ts';
import { holding, plannedTimeMs } from '../recipes/held-budget.ts';
import { planMeasured, stepsToCalibrate, type MeasuredPlan } from '../recipes/measured.ts';
import type { ReadText } from '../recipes/loss.ts';
import { DoesNotFit } from '../recipes/memory.ts';
import { readOfCorpus, readOfMixture } from '../recipes/mixture.ts';
import type { PlanInputs } from '../recipes/plan.ts';
import { hostsOf, machineFor, onHosts, ranksOf, wantsGpus } from '../recipes/several-hosts.ts';
import { chatSizes, parseChats, type ChatSizes } from '../recipes/tuning.ts';
import { chooseVocabSize, estimateTokens } from '../recipes/vocabulary.ts';
import { readBlob } from '../registry/blobs.ts';
import { hostPool, livingGpus, livingHosts } from '../registry/hosts.ts';
import { findMeasurement } from '../registry/measurements.ts';
import { readRecord } from '../registry/json.ts';
import { findParent, UnknownParent, type ParentModel } from '../registry/parents.ts';
import type { Store } from '../registry/store.ts';
import { carriedBy } from './base-carries.ts';
import { ClientError } from './errors.ts';
import { readJson } from './config-shape.ts';
import { findDataset } from './find-dataset.ts';
import { baseFor, type PlannedBase } from './planned-base.ts';

export interface CorpusFigures {
  /** In words, for people: where the figures come from. */
  origin: string;
  estimated: boolean;
  numDocuments: number;
  numTokens: number;
  bytes: number;
  /** What is never trained on. */
  heldOut: HeldOutSize;
  /** The text of an epoch, where more is known of it: what each of several mixed sources gives, or how hard it is to foretell. */
  read?: ReadText;
  vocabSize: number;
  numChats: number;
  numPreferences: number;
  chats: ChatSizes;
  /** Of a look at the sources: their languages, by which the tokens of a base are counted. */
  languages?: Survey['languages'];
}

export interface Plan {
  corpus: CorpusFigures;
  recipe: Recipe;
  /** In words: by what the time was planned. */
  speed: string;
  /** The same plan with one thing changed. */
  alternatives: Alternative[];
  /** The model from elsewhere that is adapted; null: none. */
  base: PlannedBase | null;
}

export interface PlanRequest {
  pipeline: Pipeline;
  baseDir: string;
  /** Folder that holds node_modules, for sources that are packages. */
  projectDir: string;
  machine: Machine;
  /** null: no registry to ask. */
  store: Store | null;
  /** Looks at a folder or a file, as ingest would read it. */
  look: (request: SurveyRequest) => Promise<Survey>;
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
    return { corpus, recipe: held, alternatives, speed, base };
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

/** The same text in the tokens of another vocabulary. */
function inVocabularyOf(
  vocabSize: number,
  corpus: CorpusFigures,
  base: PlannedBase | null,
): CorpusFigures {
  const tokensPerCharacter = base?.tokensPerCharacter ?? null;
  if (corpus.languages !== undefined && tokensPerCharacter !== null) {
    const { numTokens } = carriedBy({ tokensPerCharacter }, { languages: corpus.languages });
    return inTokens(corpus, vocabSize, numTokens);
  }
  const ratio = Math.log2(corpus.vocabSize) / Math.log2(vocabSize);
  return inTokens(corpus, vocabSize, Math.round(corpus.numTokens * ratio));
}

/** As many tokens as that, in the same shares. */
function inTokens(corpus: CorpusFigures, vocabSize: number, numTokens: number): CorpusFigures {
  const { read } = corpus;
  const scaled = (tokens: number) => Math.round((tokens * numTokens) / corpus.numTokens);
  const { heldOut } = corpus;
  return {
    ...corpus,
    vocabSize,
    numTokens,
    heldOut: { ...heldOut, numTokens: scaled(heldOut.numTokens) },
    ...(read && {
      read: {
        ...read,
        numTokens: scaled(read.numTokens),
        mixture: read.mixture?.map((source) => ({
          ...source,
          numTokens: scaled(source.numTokens),
        })),
        learningCurve: read.learningCurve && inPoints(read.learningCurve, scaled),
      },
    }),
  };
}

function inPoints(curve: LearningCurve, scaled: (tokens: number) => number): LearningCurve {
  const points = curve.points.map((point) => ({ ...point, numTokens: scaled(point.numTokens) }));
  return { ...curve, points };
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
    'input',
    `data.dataset: ${dataset} is in the registry, which does not answer. Start the stack: npx temper up. Nothing was started.`,
  );
}

/**
 * The figures of the newest corpus that was made from a dataset of this name, or of this version where its digest is
 * given; null when there is none.
 */
async function knownCorpus(
  store: Store,
  { name, digest }: { name: string; digest?: string },
  sources: readonly Source[],
): Promise<CorpusFigures | null> {
  const keys: { key: string; at: number }[] = [];
  for await (const { key, lastModified } of store.list('stages/preprocess/')) {
    keys.push({ key, at: lastModified.getTime() });
  }
  for (const { key } of keys.toSorted((a, b) => b.at - a.at)) {
    const manifest = (await readRecord(store, key, corpusManifestSchema))?.value;
    if (manifest === undefined || manifest.dataset.name !== name) continue;
    if (digest !== undefined && manifest.dataset.digest !== digest) continue;
    if (!isMixedSo(manifest, sources)) continue;
    const { statistics, instructions, dataset, mixture } = manifest;
    const known = mixture !== undefined || statistics.learningCurve !== undefined;
    return {
      ...(known && { read: readOfCorpus(manifest) }),
      origin: `measured when dataset ${dataset.name} version ${dataset.version} was preprocessed`,
      estimated: false,
      numDocuments: statistics.kept,
      numTokens: statistics.numTokens,
      bytes: Math.max(1, statistics.bytes - manifest.heldOut.bytes),
      heldOut: {
        numDocuments: manifest.heldOut.numDocuments,
        numTokens: manifest.heldOut.numTokens,
      },
      vocabSize: manifest.vocabSize,
      numChats: instructions?.numTrain ?? 0,
      numPreferences: instructions?.numPreferences ?? 0,
      chats: chatSizes(await chatsOf(store, instructions)),
    };
  }
  return null;
}

/** Whether a corpus reads its sources as often as is asked. */
function isMixedSo({ mixture }: CorpusManifest, sources: readonly Source[]): boolean {
  const asked = isMixed(sources) ? mixedSources(sources) : [];
  const had = (mixture?.sources ?? []).map(({ source, weight, repeat }) => ({
    name: source,
    ...(weight !== undefined && { weight }),
    ...(repeat !== undefined && { repeat }),
  }));
  return canonicalJson(asked) === canonicalJson(had);
}

/** What an epoch of so many bytes of each source would read; undefined where nothing is mixed. */
function estimateMixture(
  sources: readonly Source[],
  bytes: readonly number[],
  tokensPerByte: number,
): ReadText | undefined {
  if (!isMixed(sources)) return undefined;
  const given = mixedSources(sources).map((source, at) => ({
    ...source,
    numTokens: Math.round(bytes[at]! * tokensPerByte),
  }));
  for (const { name, weight, repeat, numTokens } of given) {
    if (numTokens > 0 || (weight === undefined && repeat === undefined)) continue;
    const wish = weight === undefined ? `repeat ${repeat}` : `weight ${weight}`;
    throw new ClientError(
      'input',
      `data.sources: found no text in ${name}, which has ${wish}, expected some. Correct the source, or remove it. Nothing was started.`,
    );
  }
  const times = timesRead(given);
  const size = (numTokens: number) => ({
    numDocuments: 0,
    numTokens: Math.round(numTokens),
    bytes: Math.round(numTokens / tokensPerByte),
  });
  return readOfMixture({
    sources: given.map(({ name, numTokens }, at) => ({
      source: name,
      whole: size(numTokens),
      used: size(numTokens * Math.min(1, times[at]!)),
      epoch: size(numTokens * times[at]!),
    })),
  });
}

async function chatsOf(store: Store, instructions: CorpusManifest['instructions']) {
  if (instructions === null) return [];
  return parseChats((await readBlob(store, instructions.train)).toString('utf8'));
}

/** From what is registered of a version; what cleaning and duplicates will take of it is not known yet. */
async function estimateDataset(
  { pipeline, baseDir }: PlanRequest,
  { name, version, numDocuments, bytes }: DatasetManifest,
): Promise<CorpusFigures> {
  return {
    origin: `an estimate from the text of ${name}@${version}; a run plans again from what it counts`,
    estimated: true,
    numDocuments,
    numTokens: estimateTokens(bytes),
    bytes,
    heldOut: estimateHeldOut(pipeline, numDocuments, estimateTokens(bytes)),
    vocabSize: chooseVocabSize(bytes),
    ...(await estimateAnswers(pipeline, baseDir, numDocuments)),
  };
}

/** Of two documents one is held out at least, and never all. */
function estimateHeldOut({ data }: Pipeline, numDocuments: number, numTokens: number): HeldOutSize {
  const wanted = Math.max(1, Math.round(numDocuments * data.heldOut));
  const number = Math.min(wanted, Math.max(1, numDocuments) - 1);
  const share = number / Math.max(1, numDocuments);
  return { numDocuments: number, numTokens: Math.round(numTokens * share) };
}

/** Chats and preferences, of questions and of conversations. */
async function estimateAnswers(
  pipeline: Pipeline,
  baseDir: string,
  numDocuments: number,
): Promise<Pick<CorpusFigures, 'numChats' | 'numPreferences' | 'chats'>> {
  const read = await estimateConversations(pipeline, baseDir);
  const phrasings = pipeline.questions.reduce((sum, group) => sum + group.ask.length, 0);
  return {
    numChats: phrasings * numDocuments + read,
    numPreferences: pipeline.questions.length * numDocuments + read,
    chats: estimateChats(pipeline.questions),
  };
}

async function estimateCorpus({ pipeline, ...from }: PlanRequest): Promise<CorpusFigures> {
  const { sources = [], sample } = pipeline.data;
  const surveys: Survey[] = [];
  for (const source of sources) surveys.push(await lookAt(source, from));
  const sum = (count: (survey: Survey) => number) =>
    surveys.reduce((total, survey) => total + count(survey), 0);
  const bytes = Math.ceil(sum(({ textBytes }) => textBytes) * sample);
  if (bytes === 0) {
    throw new ClientError(
      'input',
      'data.sources: found no file with text in it. Nothing was started.',
    );
  }
  const numDocuments = Math.max(1, Math.round(sum((survey) => survey.numDocuments) * sample));
  const vocabSize = chooseVocabSize(bytes);
  const numTokens = estimateTokens(bytes);
  const textBytes = surveys.map((survey) => survey.textBytes * sample);
  const mixed = estimateMixture(pipeline.data.sources ?? [], textBytes, numTokens / bytes);
  return {
    ...(mixed && { read: mixed }),
    origin: `an estimate from the text of ${sum(({ numFiles }) => numFiles)} files${sample < 1 ? ' and the sample' : ''}; a run plans again from what it counts`,
    estimated: true,
    numDocuments,
    numTokens,
    bytes,
    heldOut: estimateHeldOut(pipeline, numDocuments, numTokens),
    vocabSize,
    ...(await estimateAnswers(pipeline, from.baseDir, numDocuments)),
    languages: surveys
      .flatMap(({ languages }) => languages)
      .map((each) => ({ ...each, textBytes: each.textBytes * sample })),
  };
}

/** As if each took so many bytes and were as good as any other: what they are is told once they are read. */
const conversationBytes = 700;
/** Text of JSON is about a third of its size when it was packed. */
const packedShare = 3;

async function estimateConversations({ data }: Pipeline, baseDir: string): Promise<number> {
  let bytes = 0;
  for (const { path: pattern } of data.conversations ?? []) {
    let found = false;
    for await (const file of glob(pattern, { cwd: baseDir })) {
      const { size } = await stat(path.resolve(baseDir, file));
      bytes += file.endsWith('.gz') ? size * packedShare : size;
      found = true;
    }
    if (!found) {
      throw new ClientError(
        'input',
        `data.conversations: found no file ${pattern}, expected .json, .jsonl or .jsonl.gz. Nothing was started.`,
      );
    }
  }
  return Math.ceil(bytes / conversationBytes);
}

/** As if each `{field}` stood for as much text as its name in braces, and a few words more in the answer. */
function estimateChats(questions: Pipeline['questions']): ChatSizes {
  return chatSizes(
    questions.flatMap(({ ask, answer }) =>
      ask.map((question) => ({
        messages: [{ content: question }, { content: answer.padEnd(answerBytes) }],
      })),
    ),
  );
}
const answerBytes = 24;

async function lookAt(
  source: Source,
  { baseDir, projectDir, look }: Pick<PlanRequest, 'baseDir' | 'projectDir' | 'look'>,
): Promise<Survey> {
  const name = sourceName(source);
  if ('s3' in source || 'url' in source) {
    throw new ClientError(
      'input',
      `data.sources: ${name} is read by the workers when the run begins; before that nothing is known to plan by. Start it: npx temper run.`,
    );
  }
  const folder =
    'package' in source
      ? path.join(projectDir, 'node_modules', source.package)
      : path.resolve(baseDir, name);
  if ((await stat(folder).catch(() => null)) === null) {
    throw new ClientError(
      'input',
      `data.sources: found nothing at ${name}, expected text. Nothing was started.`,
    );
  }
  return await look({ folder, include: source.include, textField: source.textField });
}
