import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BaseModel } from '../../activities/base-model.ts';
import { createPlanActivities } from '../../activities/plan.ts';
import { planPipeline } from '../../client/plan.ts';
import { inputOf } from '../../client/recover.ts';
import { FailureType } from '../../config/failures.ts';
import { corpusManifestSchema } from '../../config/manifests.ts';
import { pipelineSchema, type PipelineFile } from '../../config/pipeline.ts';
import { loadOf } from '../../config/measurements.ts';
import type { Recipe } from '../../config/recipe.ts';
import { recordCalibration, recordMicroBatch } from '../../registry/measurements.ts';
import { putBlob } from '../../registry/blobs.ts';
import { runInputsSchema, runSpecSchema } from '../../config/run-records.ts';
import { reportHost } from '../../registry/hosts.ts';
import { getRunRecord, putRunRecord } from '../../registry/runs.ts';
import { recordStage } from '../../registry/stages.ts';
import { maxTokensPerCharacter } from '../../config/base-models.ts';
import { corpusOf } from '../support/records.ts';
import { machine, parentOf, recipe as someRecipe } from '../support/recipes.ts';
import { startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(async () => {
  await fixture.stop();
});

const blob = { sha256: 'a'.repeat(64), bytes: 1 };
const file: PipelineFile = {
  version: 1,
  name: 'test',
  data: { sources: [{ path: 'docs', license: 'internal' }] },
};
const questions = [
  { name: 'who', ask: ['Who in {year}?'], askHeldOut: ['In {year}, who?'], answer: '{name}' },
];
const answerGate = { evaluate: { gates: { 'questions.accuracy': { min: 0.8 } } } };

/** So much text that two hours of training end before it was read as often as it may be. */
const longCorpus = {
  ...corpusOf('long'),
  statistics: {
    ...corpusOf('long').statistics,
    numTokens: 20_000_000,
    bytes: 70_000_000,
    characters: 70_000_000,
  },
};

let corpora = 0;
async function plan(
  overrides: Partial<PipelineFile>,
  made: { numTrain: number; numPreferences: number; numAmbiguous: number } | null,
) {
  const corpus = String((corpora += 1)).repeat(64);
  const lines = { train: blob, preferences: blob, questions: blob, preferencesHeldOut: blob };
  const instructions =
    made === null ? null : { ...lines, ...made, numQuestions: 1, numPreferencesHeldOut: 1 };
  const manifest = { ...corpusOf('test'), instructions };
  const { store } = fixture.deps;
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, manifest);
  const pipeline = pipelineSchema.parse({ ...file, ...overrides });
  return await createPlanActivities(fixture.deps)
    .planTraining({ run: 'r', pipeline, corpus, machine, previous: null })
    .catch((error: unknown) => error as ApplicationFailure);
}

test('an assistant is planned where the questions made chats and preferences', async () => {
  const recipe = await plan(
    { questions, ...answerGate },
    { numTrain: 10, numPreferences: 10, numAmbiguous: 0 },
  );
  expect(recipe).toMatchObject({ sft: { phase: 'sft' }, dpo: { phase: 'dpo' } });
});

test('an assistant that has nothing to learn from is refused with counts and reason, not made a base model', async () => {
  const cases = [
    [{ numTrain: 0, numPreferences: 0, numAmbiguous: 7 }, /all 7 facts .* more than one answer/],
    [
      { numTrain: 9, numPreferences: 0, numAmbiguous: 0 },
      /9 chats and 0 preferences.* same answer/,
    ],
    [null, /the pipeline file asks no questions/],
  ] as const;
  for (const [made, sentence] of cases) {
    const failure = await plan({ goal: 'assistant', questions: made ? questions : [] }, made);
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
    expect((failure as ApplicationFailure).message).toMatch(sentence);
  }
});

test('a gate on answers that the goal does not measure is refused before anything is trained', async () => {
  const failure = await plan({ goal: 'base', ...answerGate }, null);
  expect(failure).toMatchObject({ type: FailureType.InvalidConfig });
  expect((failure as ApplicationFailure).message).toContain('questions.accuracy with goal base');
  expect(await plan({}, null)).toMatchObject({ sft: null });
});

test('phases are planned where their data is there, and DPO comes first only to a model that was taught to answer', async () => {
  const { store } = fixture.deps;
  let attempts = 0;
  const attempt = async (
    phases: NonNullable<PipelineFile['phases']>,
    { numPreferences = 9, taught = true } = {},
  ) => {
    const corpus = `f${(attempts += 1)}`.padEnd(64, '0');
    const lines = { train: blob, preferences: blob, questions: blob, preferencesHeldOut: blob };
    const counts = { numTrain: 9, numPreferences, numQuestions: 1, numPreferencesHeldOut: 1 };
    const manifest = {
      ...corpusOf('test'),
      instructions: { ...lines, ...counts, numAmbiguous: 0 },
    };
    await recordStage(store, 'preprocess', corpus, corpusManifestSchema, manifest);
    const pretrained = { phase: 'pretrain' as const, stage: '7'.repeat(64) };
    const sft = { phase: 'sft' as const, stage: '8'.repeat(64) };
    const parent = { ...parentOf('pol', 3), phases: taught ? [pretrained, sft] : [pretrained] };
    const pipeline = pipelineSchema.parse({ ...file, startFrom: 'pol@3', questions, phases });
    return await createPlanActivities(fixture.deps)
      .planTraining({ run: 'r', pipeline, corpus, machine, previous: null, parent })
      .catch((error: unknown) => error as ApplicationFailure);
  };
  expect(await attempt(['orpo'])).toMatchObject({ pretrain: null, sft: null, orpo: {} });
  expect(await attempt(['dpo'])).toMatchObject({ pretrain: null, dpo: { phase: 'dpo' } });
  expect(await attempt(['sft'], { numPreferences: 0 })).toMatchObject({ sft: {}, dpo: null });
  const refused = async (...given: Parameters<typeof attempt>) =>
    ((await attempt(...given)) as ApplicationFailure).message;
  expect(await refused(['dpo'], { taught: false })).toBe(
    'phases: [dpo]: pol@3 was taught no answers, expected a model that chats: DPO shifts what is there. ' +
      'Write phases: [sft, dpo], or [orpo], which learns the answers too.',
  );
  expect(await refused(['sft', 'orpo'], { numPreferences: 0 })).toMatch(
    /^phases: \[sft, orpo\]: .* 9 chats and 0 preferences.* same answer.* or set other phases\.$/,
  );
});

test('an assistant from a base model is planned by the length of its chats, where its vocabulary can chat', async () => {
  const { store } = fixture.deps;
  const long = 'x'.repeat(300);
  const chat = { messages: [{ content: 'Who in 1800?' }, { content: long }] };
  const train = await putBlob(store, Buffer.from(`${JSON.stringify(chat)}\n`));
  const withTokens = async (...tokens: string[]) => {
    const vocab = { a: 0, [tokens[0] ?? 'b']: 1 };
    const added_tokens = tokens.slice(1).map((content) => ({ content }));
    const bytes = Buffer.from(JSON.stringify({ added_tokens, model: { vocab } }));
    const shape = { ...someRecipe.model, contextLength: 1024 };
    const base: BaseModel = {
      name: './tiny',
      title: 'tiny',
      license: null,
      stage: '1'.repeat(64),
      weights: '2'.repeat(64),
      shape,
      tokenizer: { file: await putBlob(store, bytes), vocabSize: shape.vocabSize },
    };
    const corpus = `b${(corpora += 1)}`.padEnd(64, '0');
    const lines = { train, preferences: blob, questions: blob, preferencesHeldOut: blob };
    const counts = { numTrain: 9, numPreferences: 9, numQuestions: 1, numPreferencesHeldOut: 1 };
    const instructions = { ...lines, ...counts, numAmbiguous: 0 };
    const manifest = { ...corpusOf('test'), instructions };
    await recordStage(store, 'preprocess', corpus, corpusManifestSchema, manifest);
    const pipeline = pipelineSchema.parse({ ...file, startFrom: './tiny', questions });
    return await createPlanActivities(fixture.deps)
      .planTraining({ run: 'r', pipeline, corpus, machine, previous: null, base })
      .catch((error: unknown) => error as ApplicationFailure);
  };
  const chatml = await withTokens('<|im_start|>', '<|im_end|>');
  expect(chatml).toMatchObject({ sft: { lora: {}, contextLength: 384 }, dpo: { lora: {} } });
  expect(await withTokens('<|user|>', '<|assistant|>', '<|end|>')).toMatchObject({ sft: {} });
  const refused = await withTokens('<|im_start|>', '<|end|>');
  expect(refused).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
  expect((refused as ApplicationFailure).message).toBe(
    'the vocabulary of tiny has no tokens that part the turns of a chat, expected <|user|> <|assistant|> <|end|> or ' +
      '<|im_start|> <|im_end|>. Set goal: adapt, which teaches the documents alone, or take another base model.',
  );
});

test('a plan keeps which corpus and which version it was made from, until another pipeline takes the name', async () => {
  const { store } = fixture.deps;
  const { recordSpecification, planTraining } = createPlanActivities(fixture.deps);
  const inputs = () => getRunRecord(store, 'kept', 'inputs', runInputsSchema);
  const corpus = 'e'.repeat(64);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, corpusOf('test'));
  const pipeline = pipelineSchema.parse({ ...file, startFrom: 'test@champion' });
  const asked = { run: 'kept', pipeline, machine, baseDir: '/docs', follows: null };
  await recordSpecification(asked);
  const parent = parentOf('test', 3);
  await planTraining({ run: 'kept', pipeline, corpus, machine, previous: null, parent });
  const { instructionSet } = machine;
  const found = { schemaVersion: 1, corpus, startFrom: 'test@3', corrections: {}, instructionSet };
  expect(await inputs()).toEqual(found);

  await recordSpecification(asked);
  expect(await inputs()).toEqual(found);
  const spec = await getRunRecord(store, 'kept', 'spec', runSpecSchema);
  expect(spec).toMatchObject({ baseDir: '/docs', follows: null, machine });
  await recordSpecification({ ...asked, pipeline: { ...pipeline, seed: 2 } });
  expect(await inputs()).toEqual({ schemaVersion: 1 });
});

test('a run that is recovered plans by what it found, under the version that its alias meant', async () => {
  const { store } = fixture.deps;
  const { recordSpecification, planTraining } = createPlanActivities(fixture.deps);
  const run = 'pinned';
  const corpus = 'd'.repeat(64);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, corpusOf('test'));
  const pipeline = pipelineSchema.parse({ ...file, startFrom: 'test@champion' });
  await recordSpecification({ run, pipeline, machine, baseDir: '/docs' });
  const parent = parentOf('test', 3);
  const asked = { run, corpus, machine, previous: null, parent };
  const recipe = await planTraining({ ...asked, pipeline });
  // The run halved its own micro-batch.
  await recordMicroBatch(store, machine, loadOf(recipe.pretrain!, recipe.model), 1);
  expect(await planTraining({ ...asked, run: 'fresh', pipeline })).not.toEqual(recipe);

  for (const attempt of ['first', 'second']) {
    const spec = await getRunRecord(store, run, 'spec', runSpecSchema);
    const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema);
    const { pipeline: pinned, baseDir, follows } = inputOf(run, spec!, inputs);
    expect(pinned.startFrom, attempt).toBe('test@3');
    await recordSpecification({ run, pipeline: pinned, machine, baseDir, follows: follows! });
    expect(await planTraining({ ...asked, pipeline: pinned }), attempt).toEqual(recipe);
  }
  const other = { ...pipeline, startFrom: 'test@2' };
  await recordSpecification({ run, pipeline: other, machine, baseDir: '/docs' });
  expect(await getRunRecord(store, run, 'inputs', runInputsSchema)).toEqual({ schemaVersion: 1 });
});

test('a run that is recovered is planned for the instruction set that it was planned for, whatever lives now', async () => {
  const { store } = fixture.deps;
  const run = 'its-set';
  const corpus = 'b5'.repeat(32);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, corpusOf('test'));
  const pipeline = pipelineSchema.parse(file);
  const { planTraining } = createPlanActivities(fixture.deps);
  const set = async (asking: typeof machine, name = run) =>
    (await planTraining({ run: name, pipeline, corpus, machine: asking, previous: null })).machine
      .instructionSet;
  const amx = { ...machine, instructionSet: 'amx' as const };
  expect(await set(amx)).toBe('amx');
  const host = { schemaVersion: 1 as const, host: 'two', instructionSet: 'avx2' as const };
  const say = async (at: Date) =>
    await reportHost(store, 'local', { ...host, at: at.toISOString() });
  await say(fixture.deps.now());
  expect(await set(amx, 'a-new-run')).toBe('avx2');
  expect(await set(amx)).toBe('amx');
  // Older versions kept it in the plan alone.
  await putRunRecord(store, run, 'inputs', { schemaVersion: 1, corpus });
  expect(await set(amx)).toBe('amx');
  await say(new Date(-3_600_000));
});

test('a run that is recovered has the configuration that it was given, though its file is gone', async () => {
  const { store } = fixture.deps;
  const run = 'given';
  const corpus = 'c'.repeat(64);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, corpusOf('test'));
  const pipeline = pipelineSchema.parse({ ...file, model: { config: './gemma.json' } });
  const given = {
    architecture: 'GemmaForCausalLM',
    config: { model_type: 'gemma' },
    hiddenSize: 64,
    numLayers: 2,
    contextLength: 64,
    tieEmbeddings: true,
    parameters: { fixed: 1000, perToken: 64 },
  };
  const { recordSpecification, planTraining } = createPlanActivities(fixture.deps);
  await recordSpecification({ run, pipeline, machine, baseDir: '/docs' });
  await planTraining({ run, pipeline, corpus, machine, previous: null, given });
  const spec = await getRunRecord(store, run, 'spec', runSpecSchema);
  const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema);
  expect(inputOf(run, spec!, inputs).given).toEqual(given);
});

test('a base model whose tokenizer cuts the language into bytes is refused with what was measured', async () => {
  const base: BaseModel = {
    name: 'smollm2',
    title: 'SmolLM2-135M-Instruct',
    license: 'Apache-2.0',
    stage: '1'.repeat(64),
    weights: '2'.repeat(64),
    shape: someRecipe.model,
    tokenizer: { file: blob, vocabSize: someRecipe.model.vocabSize },
  };
  const characters = 10_000;
  const adapt = async (tokensPerCharacter: number) => {
    const corpus = String((corpora += 1))
      .repeat(64)
      .slice(0, 64);
    const numTokens = characters * tokensPerCharacter;
    const made = corpusOf('test');
    const scripts = { han: 13, latin: 3 };
    const statistics = { ...made.statistics, numTokens, characters, scripts };
    const { store } = fixture.deps;
    const manifest = { ...made, statistics };
    await recordStage(store, 'preprocess', corpus, corpusManifestSchema, manifest);
    const pipeline = pipelineSchema.parse({ ...file, startFrom: 'smollm2' });
    return await createPlanActivities(fixture.deps)
      .planTraining({ run: 'r', pipeline, corpus, machine, previous: null, base })
      .catch((error: unknown) => error as ApplicationFailure);
  };
  const refused = await adapt(2.6);
  expect(refused).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
  expect((refused as ApplicationFailure).message).toBe(
    'SmolLM2-135M-Instruct spends 2.6 tokens a character on your corpus (81 % of the documents han); the limit is 1.5. ' +
      'Set startFrom: scratch, or give a base model that knows the language.',
  );
  expect(await adapt(maxTokensPerCharacter)).toMatchObject({ pretrain: { phase: 'pretrain' } });
});

test('a long run asks to time its steps, a short one does not, and one that was timed plans by it for good', async () => {
  const { store } = fixture.deps;
  const corpus = '1e'.repeat(32);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, longCorpus);
  const activities = createPlanActivities(fixture.deps);
  const pipelineOf = (time: string) => pipelineSchema.parse({ ...file, budget: { time } });
  const ask = async (run: string, more: object = {}) =>
    await activities.planTraining({
      run,
      pipeline: pipelineOf('2h'),
      corpus,
      machine,
      previous: null,
      ...more,
    });
  expect(await ask('short', { pipeline: pipelineOf('4m') })).not.toHaveProperty('calibrate');
  const { calibrate, ...first } = await ask('long');
  expect(calibrate).toEqual({ numSteps: 20 });
  await recordCalibration(store, machine, loadOf(first.pretrain!, first.model), {
    numSteps: 20,
    stepMs: 9000,
    tookMs: 200_000,
    at: '2026-11-22T00:00:00.000Z',
  });
  // Until it is said that it was timed, the run plans as it did before.
  expect(await ask('long')).toEqual({ ...first, calibrate });
  const timed = await ask('long', { calibrated: true });
  expect(timed).not.toHaveProperty('calibrate');
  expect(timed.reasons.some(({ choice }) => choice === 'speed')).toBe(true);
  expect(timed.estimate.trainingMs).not.toBe(first.estimate.trainingMs);
  expect(await ask('another')).toEqual(timed);

  // What the machine is learnt of later changes other runs, and not this one.
  await recordMicroBatch(store, machine, loadOf(timed.pretrain!, timed.model), 2);
  expect(await ask('long')).toEqual(timed);
  expect((await ask('later')).pretrain!.microBatchSize).toBe(2);
  const failures = [{ metric: 'valBpb' as const, value: 2 }];
  const again = await ask('long', { previous: { recipe: timed, failures } });
  expect(again).not.toHaveProperty('calibrate');
  expect(again.reasons.some(({ choice }) => choice === 'speed')).toBe(true);
});

test('a run whose calibration failed keeps its plan when it is recovered, whatever is measured since', async () => {
  const { store } = fixture.deps;
  const corpus = '1e'.repeat(32);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, longCorpus);
  const { planTraining } = createPlanActivities(fixture.deps);
  // Another machine than that of other tests, so that nothing is known of it.
  const unknown = { ...machine, cores: machine.cores + 1 };
  const pipeline = pipelineSchema.parse({ ...file, budget: { time: '2h' } });
  const ask = async (run: string, calibrated = false) =>
    await planTraining({
      run,
      pipeline,
      corpus,
      machine: unknown,
      previous: null,
      ...(calibrated && { calibrated }),
    });
  expect(await ask('failed')).toHaveProperty('calibrate');
  const recipe = await ask('failed', true);
  const inputs = await getRunRecord(store, 'failed', 'inputs', runInputsSchema);
  expect(inputs).toMatchObject({ corrections: {}, timed: true });

  const load = loadOf(recipe.pretrain!, recipe.model);
  const took = { numSteps: 20, stepMs: 9000, tookMs: 200_000 };
  await recordCalibration(store, unknown, load, { ...took, at: '2026-11-22T00:00:00.000Z' });
  await recordMicroBatch(store, unknown, load, 1);
  expect(await ask('failed')).toEqual(recipe);
  expect(await ask('failed', true)).toEqual(recipe);
  expect((await ask('fresh')).pretrain).not.toEqual(recipe.pretrain);
});

test('a plan that the machine has no room for is refused by how much, before anything is trained', async () => {
  const { store } = fixture.deps;
  const corpus = 'f'.repeat(64);
  await recordStage(store, 'preprocess', corpus, corpusManifestSchema, corpusOf('large'));
  const refused = await createPlanActivities(fixture.deps)
    .planTraining({
      run: 'large',
      pipeline: pipelineSchema.parse(file),
      corpus,
      machine: { ...machine, memoryBytes: 1e9 },
      previous: null,
    })
    .catch((error: unknown) => error as ApplicationFailure);
  expect(refused).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
  expect((refused as ApplicationFailure).message).toMatch(
    /GB too little\. What would fit: a machine with/,
  );
});

test('a share of older documents is planned from the parted corpus, and refused where a part fills no window', async () => {
  const { store } = fixture.deps;
  const onward = async (corpus: string, unread: number, older: number) => {
    const shardOf = (numTokens: number) => ({
      tokens: blob,
      index: blob,
      numDocuments: 1,
      numTokens,
    });
    await recordStage(store, 'preprocess', corpus, corpusManifestSchema, {
      ...corpusOf('test'),
      shards: [shardOf(unread)],
      older: [shardOf(older)],
    });
    const data = { ...file.data, replay: '25%' };
    const pipeline = pipelineSchema.parse({ ...file, data, startFrom: 'test@2' });
    const parent = parentOf('test', 2);
    return await createPlanActivities(fixture.deps)
      .planTraining({ run: 'replays', pipeline, corpus, machine, previous: null, parent })
      .catch((error: unknown) => error as ApplicationFailure);
  };
  const recipe = await onward('ab'.repeat(32), 50_000, 150_000);
  expect(recipe).toMatchObject({ pretrain: { replay: { share: 0.25 } } });
  const refused = await onward('ac'.repeat(32), 500, 150_000);
  expect(refused).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
  expect((refused as ApplicationFailure).message).toMatch(
    /^data\.replay: found 500 new and 150000 older tokens, expected at least 512 of each/,
  );
});

test('chats share no rows of an architecture that was given', async () => {
  const corpus = 'ad'.repeat(32);
  await recordStage(fixture.deps.store, 'preprocess', corpus, corpusManifestSchema, {
    ...corpusOf('test'),
    instructions: {
      train: blob,
      preferences: blob,
      questions: blob,
      preferencesHeldOut: blob,
      numTrain: 9,
      numPreferences: 9,
      numAmbiguous: 0,
      numQuestions: 1,
      numPreferencesHeldOut: 1,
    },
  });
  const shape = {
    family: 'transformers' as const,
    architecture: 'GPT2LMHeadModel',
    config: { model_type: 'gpt2' },
    hiddenSize: 64,
    numLayers: 2,
    contextLength: 128,
    tieEmbeddings: true,
    vocabSize: 512,
    numParameters: 100_000,
  };
  const pipeline = pipelineSchema.parse({
    ...file,
    questions,
    phases: ['sft'],
    packing: true,
    startFrom: 'test@2',
  });
  const parent = { ...parentOf('test', 2), shape };
  await expect(
    createPlanActivities(fixture.deps).planTraining({
      run: 'packs',
      pipeline,
      corpus,
      machine,
      previous: null,
      parent,
    }),
  ).rejects.toThrow('packing: found test@2, a GPT2LMHeadModel, expected a Llama or a Qwen');
});

test('a run plans by how hard its text is what temper plan prints of it', async () => {
  const { store } = fixture.deps;
  const known = corpusOf('hard');
  const points = [
    { numTokens: 8192, bitsPerByte: 2.7 },
    { numTokens: 200_000, bitsPerByte: 2.4 },
  ];
  const planned = async (name: string, corpus: string, statistics = known.statistics) => {
    const manifest = { ...corpusOf(name), statistics };
    await recordStage(store, 'preprocess', corpus, corpusManifestSchema, manifest);
    const pipeline = pipelineSchema.parse({ ...file, name, budget: { time: '1m' } });
    const run = await createPlanActivities(fixture.deps).planTraining({
      run: `hard-${corpus.slice(0, 2)}`,
      pipeline,
      corpus,
      machine,
      previous: null,
    });
    return { run, pipeline };
  };
  const { run: alike } = await planned('alike', 'ae'.repeat(32));
  const learningCurve = { order: 4, numHeldOut: 100, points };
  const measured = { ...known.statistics, learningCurve };
  const { run, pipeline } = await planned('hard', 'af'.repeat(32), measured);
  expect(run.estimate.valBpbHigh).toBeGreaterThan(1.2 * alike.estimate.valBpbHigh);
  const reasonOf = ({ reasons }: Recipe) => reasons.find(({ choice }) => choice === 'text')!;
  expect(reasonOf(run).value).toMatch(/^\d+ % harder$/);
  expect(reasonOf(alike).value).toBe('not measured yet');

  const look = (): never => {
    throw new Error('looked at the sources of a corpus that is known');
  };
  const request = { pipeline, baseDir: '/', projectDir: '/', machine, store, look };
  const { recipe, corpus } = await planPipeline(request);
  const { calibrate: _, ...frozen } = run;
  expect(recipe).toEqual(frozen);
  expect(corpus.read?.learningCurve).toEqual(learningCurve);
});
