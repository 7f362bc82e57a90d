/** Freezes the recipe of a run from the statistics of its corpus, before anything is spent on training. */
import { ApplicationFailure } from '@temporalio/activity';
import { z } from 'zod';
import { chatFormats, maxTokensPerCharacter } from '../config/base-models.ts';
import { FailureType } from '../config/failures.ts';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import type { GateMetric } from '../config/gates.ts';
import type { IngestResult } from '../config/ingest.ts';
import { plannedSet } from '../config/instruction-set.ts';
import { corpusManifestSchema, type CorpusManifest } from '../config/manifests.ts';
import { familyOf } from '../config/model-wish.ts';
import { pipelineSchema, type Pipeline } from '../config/pipeline.ts';
import { runInputsSchema, runSpecSchema, type RunInputs } from '../config/run-records.ts';
import { machineSchema, type Machine, type MeasuredModel, type Recipe } from '../config/recipe.ts';
import type { Replay } from '../recipes/continuation.ts';
import { planMeasured, stepsToCalibrate } from '../recipes/measured.ts';
import { DoesNotFit } from '../recipes/memory.ts';
import { readOfCorpus } from '../recipes/mixture.ts';
import { planPhases, replanPhases } from '../recipes/phases.ts';
import { hostsOf, machineFor, onHosts, ranksOf, wantsGpus } from '../recipes/several-hosts.ts';
import { holding, plannedTimeMs } from '../recipes/held-budget.ts';
import type { SweepWish } from '../recipes/sweep.ts';
import { chatSizes, parseChats, type ChatSizes } from '../recipes/tuning.ts';
import { readBlob } from '../registry/blobs.ts';
import { hostPool, livingGpus, livingHosts } from '../registry/hosts.ts';
import { findMeasurement } from '../registry/measurements.ts';
import {
  findChampion,
  findParent,
  findSuccessor,
  UnknownParent,
  type ParentModel,
} from '../registry/parents.ts';
import { addRunInputs, getRunRecord, putRunRecord } from '../registry/runs.ts';
import type { Store } from '../registry/store.ts';
import type { BaseModel } from './base-model.ts';
import type { Deps } from './deps.ts';
import { requireStage } from './stage-records.ts';

export interface GateFailure {
  metric: GateMetric;
  /** Null when it was not measured. */
  value: number | null;
  min?: number | undefined;
  max?: number | undefined;
  /** The model that it had to equal, and its value; left out, a gate of the pipeline file. */
  rival?: { name: string; version: number; value: number };
}

export interface PlanInput {
  run: string;
  pipeline: Pipeline;
  corpus: string;
  machine: Machine;
  /** The recipe whose model failed its gates, and how; null for the first plan. */
  previous: { recipe: Recipe; failures: GateFailure[] } | null;
  /** Whose pretraining goes on; left out, training starts from random weights. */
  parent?: ParentModel | null;
  /** The model from elsewhere that is adapted. */
  base?: BaseModel;
  /** The configuration that the pipeline file gives, as it was measured. */
  given?: MeasuredModel;
  /** The machine was just measured, or that failed: its measurements are looked up again, this once. */
  calibrated?: true;
}
export type { ParentModel };

export function createPlanActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** The first activity of a run: what the client resolved must still parse, and is kept as the run's specification. */
    async recordSpecification(input: {
      run: string;
      pipeline: Pipeline;
      machine: Machine;
      baseDir?: string;
      ingested?: IngestResult;
      challenge?: boolean;
      follows?: number | null;
    }): Promise<void> {
      const parsed = pipelineSchema.safeParse(input.pipeline);
      if (!parsed.success) {
        const faults = parsed.error.issues.map(
          ({ path, message }) => `${path.join('.')}: ${message}`,
        );
        throw ApplicationFailure.nonRetryable(
          `the pipeline of run ${input.run} does not parse: ${faults.join('; ')}. Start it with npx temper run.`,
          FailureType.InvalidConfig,
        );
      }
      const { run } = input;
      const earlier = await getRunRecord(store, run, 'spec', runSpecSchema).catch(() => null);
      // What another pipeline of this name has found says nothing to this one.
      if (earlier !== null && !(await isSamePipeline(store, run, earlier.pipeline, parsed.data))) {
        await putRunRecord(store, run, 'inputs', { schemaVersion: 1 });
      }
      await putRunRecord(store, run, 'spec', { schemaVersion: 1, ...input });
    },

    /** The model that `startFrom` names, from here on under its number: an alias may move meanwhile. */
    async findParent({
      startFrom,
      asItIs,
    }: {
      startFrom: string;
      /** With all that it was taught; left out, from its pretraining on. */
      asItIs?: boolean;
    }): Promise<ParentModel> {
      return await refusingUnknown(() => findParent(store, startFrom, { asItIs: asItIs === true }));
    },

    /** The champion of a model; null as long as there is none. */
    async findChampion({ model }: { model: string }): Promise<ParentModel | null> {
      return await refusingUnknown(() => findChampion(store, model));
    },

    /** The version that went on from this one over the same documents; null when none has. */
    async findSuccessor(wanted: {
      name: string;
      version: number;
      dataset: string;
    }): Promise<number | null> {
      return await findSuccessor(store, wanted);
    },

    async planTraining(input: PlanInput): Promise<Recipe> {
      const { run, pipeline, corpus, previous, parent, base, given } = input;
      const earlier = await getRunRecord(store, run, 'inputs', runInputsSchema);
      const known = previous?.recipe.machine ?? {
        ...input.machine,
        instructionSet:
          (await setOfPlan(store, run, earlier)) ?? (await setOfHosts(deps, input.machine)),
      };
      const gpu = wantsGpus(pipeline.compute)
        ? (known.gpu ?? (await livingGpus(store, hostPool, deps.now(), hostsOf(pipeline.compute))))
        : null;
      const machine = await refusingWhatDoesNotFit(async () =>
        machineFor(pipeline.compute, known, gpu),
      );
      const manifest = await requireStage(store, 'preprocess', corpus, corpusManifestSchema);
      const { statistics, instructions, vocabSize, heldOut } = manifest;
      refuseUnmeasurable(pipeline, instructions);
      refuseUntaught(pipeline, { base, parent });
      refuseAdapting(pipeline, parent);
      refusePacking(pipeline, parent);
      if (base !== undefined) refuseForeign(base, statistics);
      const adapted = pipeline.goal === 'assistant' ? adaptedModel(base, parent) : null;
      if (adapted !== null) await refuseMute(store, adapted);
      const inputs = {
        statistics: readOfCorpus(manifest),
        goal: pipeline.goal,
        budgetMs: plannedTimeMs(pipeline.budget, pipeline.compute),
        stopOnPlateau: pipeline.budget.stopOnPlateau,
        prefer: pipeline.prefer,
        machine,
        ...ranksOf(pipeline.compute, machine),
        seed: pipeline.seed,
        vocabSize,
        tokenizer: pipeline.tokenizer,
        family: familyOf(pipeline),
        given,
        packing: pipeline.packing,
        replay: replayOf(pipeline, manifest),
        numChats: instructions?.numTrain ?? 0,
        numPreferences: instructions?.numPreferences ?? 0,
        heldOutTokens: heldOut.numTokens,
        parent,
        base,
        ...(pipeline.sweep && { sweep: sweepOf(pipeline.sweep, heldOut.numTokens) }),
        ...(adapted !== null && instructions && { chats: await sizesOf(store, instructions) }),
      };
      const { phases } = pipeline;
      // Tried once, and for good: what is learnt of the machine later would plan another training under this name.
      const timed = earlier?.timed === true;
      const kept = input.calibrated === true && !timed ? undefined : earlier?.corrections;
      const { recipe: planned, corrections } = await refusingWhatDoesNotFit(async () =>
        previous !== null
          ? {
              recipe: replanPhases({ ...inputs, ...kept }, phases, {
                previous: previous.recipe,
                missed: previous.failures,
              }),
              corrections: kept,
            }
          : kept !== undefined
            ? { recipe: planPhases({ ...inputs, ...kept }, phases), corrections: kept }
            : await planMeasured(
                inputs,
                (load) => findMeasurement(store, machine, load),
                (asked) => planPhases(asked, phases),
                (recipe) => onHosts(recipe, pipeline),
              ),
      );
      const recipe = await refusingWhatDoesNotFit(async () =>
        onHosts(holding(planned, pipeline.budget), pipeline),
      );
      refuseTooFew(recipe, inputs.replay);
      await putRunRecord(store, run, 'plan', recipe);
      const startFrom = parent && { startFrom: `${parent.name}@${parent.version}` };
      await addRunInputs(store, run, {
        corpus,
        ...startFrom,
        ...(given && { given }),
        ...(corrections && { corrections }),
        instructionSet: known.instructionSet,
        ...(input.calibrated && { timed: true }),
      });
      const wanted =
        previous === null &&
        input.calibrated !== true &&
        !timed &&
        corrections?.pace === undefined &&
        // Steps on one host say nothing of several.
        hostsOf(pipeline.compute) === 1;
      const numSteps = wanted ? stepsToCalibrate(recipe, pipeline.budget.time) : 0;
      return numSteps === 0 ? recipe : { ...recipe, calibrate: { numSteps } };
    },
  };
}
/** What this run was planned for before, whatever lives now: what it has trained is named by it. */
async function setOfPlan(
  store: Store,
  run: string,
  earlier: RunInputs | null,
): Promise<Machine['instructionSet'] | undefined> {
  // Without a corpus it has planned nothing under this pipeline.
  if (earlier?.corpus === undefined || earlier.instructionSet !== undefined)
    return earlier?.instructionSet;
  // Older versions kept the set in the plan alone, where it was that of the machine that asked.
  const plan = await getRunRecord(store, run, 'plan', plannedForSchema);
  return plan?.machine.instructionSet;
}

const plannedForSchema = z.looseObject({
  machine: machineSchema.pick({ instructionSet: true }).loose(),
});

/** A run may be asked for from a machine of another kind than those that train. */
async function setOfHosts(
  { store, now }: Deps,
  { instructionSet }: Machine,
): Promise<Machine['instructionSet']> {
  const living = await livingHosts(store, hostPool, now());
  return plannedSet(
    instructionSet,
    living.map((host) => host.instructionSet),
  );
}

export type PlanActivities = ReturnType<typeof createPlanActivities>;

/** Whether a run is asked what it was asked before: an alias that it resolved may stand there as the version it found. */
async function isSamePipeline(
  store: Store,
  run: string,
  earlier: unknown,
  { startFrom, ...asked }: Pipeline,
): Promise<boolean> {
  // Defaults that came since then are no other pipeline.
  const parsed = pipelineSchema.safeParse(earlier);
  if (!parsed.success) return false;
  const { startFrom: before, ...rest } = parsed.data;
  if (canonicalJson(rest) !== canonicalJson(asked)) return false;
  if (startFrom === before) return true;
  const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema);
  return inputs?.startFrom === startFrom;
}

/** Adapters are put around projections whose names are those of the families that we know. */
function refuseAdapting({ goal }: Pipeline, parent: ParentModel | null | undefined): void {
  if (goal !== 'adapt' || parent?.shape.family !== 'transformers') return;
  throw ApplicationFailure.nonRetryable(
    `goal: adapt: found ${parent.name}@${parent.version}, a ${parent.shape.architecture}, which gets no adapters. Set goal: base.`,
    FailureType.InvalidConfig,
  );
}

/** What the corpus was parted into, where a share is asked for and a version is gone on from. */
function replayOf({ data }: Pipeline, { shards, older }: CorpusManifest): Replay | undefined {
  if (data.replay === undefined || older === undefined) return undefined;
  const tokensOf = (parts: typeof shards) =>
    parts.reduce((sum, { numTokens }) => sum + numTokens, 0);
  return {
    share: data.replay,
    numTokens: { unread: tokensOf(shards), older: tokensOf(older) },
  };
}

/** A stream is cut into windows, of which each epoch leaves one at the edges. */
function refuseTooFew({ pretrain }: Recipe, replay: Replay | undefined): void {
  if (pretrain === null || replay === undefined || replay.numTokens === null) return;
  const { unread, older } = replay.numTokens;
  const least = 2 * pretrain.contextLength;
  if (Math.min(unread, older) >= least) return;
  throw ApplicationFailure.nonRetryable(
    `data.replay: found ${unread} new and ${older} older tokens, expected at least ${least} of each, twice the context. ` +
      'Give more documents, or remove replay.',
    FailureType.InvalidConfig,
  );
}

/** In its own pass the chats of a row might see each other. */
function refusePacking({ packing }: Pipeline, parent: ParentModel | null | undefined): void {
  if (packing !== true || parent?.shape.family !== 'transformers') return;
  throw ApplicationFailure.nonRetryable(
    `packing: found ${parent.name}@${parent.version}, a ${parent.shape.architecture}, expected a Llama or a Qwen. Remove packing.`,
    FailureType.InvalidConfig,
  );
}

/** No retry finds a model that is not there. */
async function refusingUnknown<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UnknownParent)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, FailureType.InvalidConfig);
  }
}

/** What is asked for, with what the trials are compared on. */
function sweepOf(
  { learningRate, halving }: NonNullable<Pipeline['sweep']>,
  heldOutTokens: number,
): SweepWish {
  if (heldOutTokens > 0) return { learningRate, halving, heldOutTokens };
  throw ApplicationFailure.nonRetryable(
    'sweep: the corpus holds no document out, and trials are compared on held-out text. Raise data.heldOut, or remove sweep.',
    FailureType.InvalidConfig,
  );
}

/** No retry makes room. */
async function refusingWhatDoesNotFit<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DoesNotFit)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, FailureType.InvalidConfig);
  }
}

/** The model whose adapters are tuned; null where all weights are trained. */
function adaptedModel(
  base: BaseModel | undefined,
  parent: ParentModel | null | undefined,
): { title: string; tokenizer: BlobRef } | null {
  if (base !== undefined) return { title: base.title, tokenizer: base.tokenizer.file };
  if (parent?.adapted !== true) return null;
  return { title: `${parent.name}@${parent.version}`, tokenizer: parent.tokenizer.file };
}

/** What of a tokenizer.json says which tokens it has. */
const vocabularySchema = z.object({
  added_tokens: z.array(z.object({ content: z.string() })).default([]),
  model: z.object({ vocab: z.record(z.string(), z.unknown()) }),
});

/** Throws where a vocabulary has no tokens that part the turns of a chat, before anything is trained. */
async function refuseMute(
  store: Store,
  { title, tokenizer }: { title: string; tokenizer: BlobRef },
): Promise<void> {
  const bytes = await readBlob(store, tokenizer);
  const parsed = vocabularySchema.safeParse(JSON.parse(bytes.toString('utf8')));
  // A vocabulary of another form is the trainer's to read.
  if (!parsed.success) return;
  const added = new Set(parsed.data.added_tokens.map(({ content }) => content));
  const { vocab } = parsed.data.model;
  const has = (token: string) => added.has(token) || Object.hasOwn(vocab, token);
  if (chatFormats.some((tokens) => tokens.every(has))) return;
  const expected = chatFormats.map((tokens) => tokens.join(' ')).join(' or ');
  throw ApplicationFailure.nonRetryable(
    `the vocabulary of ${title} has no tokens that part the turns of a chat, expected ${expected}. ` +
      'Set goal: adapt, which teaches the documents alone, or take another base model.',
    FailureType.InvalidConfig,
  );
}

async function sizesOf(
  store: Store,
  { train }: NonNullable<CorpusManifest['instructions']>,
): Promise<ChatSizes> {
  return chatSizes(parseChats((await readBlob(store, train)).toString('utf8')));
}

/** Throws where a base's tokenizer cuts the language of the corpus into bytes. */
function refuseForeign(base: BaseModel, statistics: CorpusManifest['statistics']): void {
  const { numTokens, characters, scripts } = statistics;
  const spent = numTokens / Math.max(1, characters);
  if (spent <= maxTokensPerCharacter) return;
  const [script = 'unknown', count = 0] =
    Object.entries(scripts).toSorted(([, a], [, b]) => b - a)[0] ?? [];
  const all = Object.values(scripts).reduce((sum, each) => sum + each, 0);
  const share = Math.round((100 * count) / Math.max(1, all));
  throw ApplicationFailure.nonRetryable(
    `${base.title} spends ${spent.toFixed(1)} tokens a character on your corpus (${share} % of the documents ${script}); ` +
      `the limit is ${maxTokensPerCharacter}. Set startFrom: scratch, or give a base model that knows the language.`,
    FailureType.InvalidConfig,
  );
}

/** Throws where the goal cannot be reached, or a gate not be measured, with the questions of this corpus. */
function refuseUnmeasurable(
  { goal, phases, questions, evaluate }: Pipeline,
  instructions: CorpusManifest['instructions'],
): void {
  const refuse = (sentence: string): never => {
    throw ApplicationFailure.nonRetryable(sentence, FailureType.InvalidConfig);
  };
  if (phases?.includes('pretrain') === false && evaluate.gates.valBpb !== undefined) {
    refuse(
      `evaluate.gates: found a gate on valBpb with phases [${phases.join(', ')}]; held-out text is scored after pretraining. ` +
        'Add pretrain to the phases, or remove the gate.',
    );
  }
  // Of goal embeddings the pipeline file itself tells what it measures.
  if (goal === 'embeddings') return;
  if (goal !== 'assistant') {
    const gates = Object.keys(evaluate.gates).filter((metric) => metric !== 'valBpb');
    if (gates.length > 0) {
      refuse(
        `evaluate.gates: found a gate on ${gates.join(', ')} with goal ${goal}, which learns no answers. ` +
          'Set goal: assistant, or remove the gate.',
      );
    }
    return;
  }
  const { numTrain = 0, numPreferences = 0, numAmbiguous = 0 } = instructions ?? {};
  const pairs = phases === undefined || phases.includes('dpo') || phases.includes('orpo');
  if (numTrain > 0 && (numPreferences > 0 || !pairs)) return;
  const reason =
    questions.length === 0
      ? instructions?.conversations === undefined
        ? 'the pipeline file asks no questions'
        : 'the conversations hold no preferences (set phases without dpo and orpo)'
      : numTrain === 0
        ? `all ${numAmbiguous} facts that it asks for have more than one answer in the corpus`
        : 'every question of a group has the same answer, so there is no wrong one to learn from';
  refuse(
    `${phases === undefined ? 'goal: assistant' : `phases: [${phases.join(', ')}]`}: the questions made ${numTrain} chats and ${numPreferences} preferences, expected at least 1 of each: ` +
      `${reason} (${numAmbiguous} ambiguous facts). Correct the questions, or set ${phases === undefined ? 'goal: base' : 'other phases'}.`,
  );
}

/** Throws where DPO would come first to a model that nobody taught to answer. */
function refuseUntaught(
  { phases, startFrom }: Pipeline,
  { base, parent }: { base: BaseModel | undefined; parent: ParentModel | null | undefined },
): void {
  if (phases?.[0] !== 'dpo') return;
  const taught =
    base?.chat === true || parent?.phases?.some(({ phase }) => phase !== 'pretrain') === true;
  if (taught) return;
  throw ApplicationFailure.nonRetryable(
    `phases: [dpo]: ${startFrom} was taught no answers, expected a model that chats: DPO shifts what is there. ` +
      'Write phases: [sft, dpo], or [orpo], which learns the answers too.',
    FailureType.InvalidConfig,
  );
}
