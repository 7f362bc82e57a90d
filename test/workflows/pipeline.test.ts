import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/activity';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CalibrateActivities } from '../../activities/calibrate.ts';
import type { EvaluateActivities } from '../../activities/evaluate.ts';
import type { ExportActivities } from '../../activities/export.ts';
import type { GivenModelActivities } from '../../activities/given-model.ts';
import type { IngestActivities } from '../../activities/ingest.ts';
import type { PlanActivities } from '../../activities/plan.ts';
import type { PreprocessActivities } from '../../activities/preprocess.ts';
import type { DeployRequest, ReleaseActivities } from '../../activities/release.ts';
import type { TrainActivities } from '../../activities/train.ts';
import { FailureType } from '../../config/failures.ts';
import type { EvaluationSummary } from '../../config/manifests.ts';
import { pipelineSchema, type PipelineFile } from '../../config/pipeline.ts';
import type { Phase } from '../../config/recipe.ts';
import { planPhases, replanPhases } from '../../recipes/phases.ts';
import { replanRecipe } from '../../recipes/plan.ts';
import { runStatusQuery, type PipelineInput } from '../../workflows/messages.ts';
import { pipelineWorkflow } from '../../workflows/pipeline.ts';
import { machine, parentOf, planInputs, recipe } from '../support/recipes.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
}, 60_000);
afterAll(async () => {
  await env.teardown();
});

type Activities = PlanActivities &
  GivenModelActivities &
  ReleaseActivities &
  TrainActivities &
  CalibrateActivities &
  ExportActivities &
  EvaluateActivities &
  IngestActivities &
  PreprocessActivities;

const digest = (letter: string) => letter.repeat(64);

function evaluation(metrics: Record<string, number>): EvaluationSummary {
  return {
    stage: digest('3'),
    bundle: digest('b'),
    metrics: Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [name, { value, stderr: null, count: 10 }]),
    ),
    latency: { firstTokenMs: 1, tokensPerSecond: 100, probeDifference: 0 },
  };
}

/** Stages that succeed at once; `scores` gives each evaluation in turn, `calls` what was asked for. */
function fakes(scores: Record<string, number>[]): { activities: Activities; calls: string[] } {
  const calls: string[] = [];
  const unused = async (): Promise<never> => {
    throw new Error('not part of this test');
  };
  const summary = {
    numDocuments: 12,
    kept: 10,
    dropped: { duplicate_exact: 2 },
    redacted: {},
    numTokens: 200_000,
    bytes: 700_000,
    vocabSize: 512,
    numShards: 1,
    numHeldOut: 1,
    heldOutBytes: 1000,
    numTrainQuestions: 100,
    numPreferences: 100,
    numQuestions: 10,
    numAmbiguous: 0,
  };
  const activities: Activities = {
    recordSpecification: async () => undefined,
    ingestCorpus: async ({ name }) => ({
      dataset: { name, version: 1, digest: digest('d') },
      numDocuments: 12,
      bytes: 700_000,
      dropped: {},
      reused: false,
    }),
    findDataset: async ({ dataset }) => {
      calls.push(`dataset ${dataset}`);
      const found = { dataset: { name: 'laws', version: 3, digest: digest('d') }, bytes: 700_000 };
      return { ...found, numDocuments: 12, dropped: {}, reused: true };
    },
    findCorpus: async () => ({
      corpus: digest('c'),
      numShards: 1,
      found: { corpus: digest('c'), reused: true, summary },
    }),
    findPreparedCorpus: async ({ corpus }) => ({ corpus, reused: true, summary }),
    readEvaluationSets: async () => ({
      grams: { sha256: digest('9'), bytes: 1 },
      numTexts: 1,
      numRecords: 1,
      numTooShort: 0,
    }),
    readConversations: async () => {
      throw new Error('no conversations were asked for');
    },
    cleanShards: unused,
    resolveDuplicates: unused,
    scatterFingerprints: unused,
    resolveBuckets: unused,
    splitCorpus: unused,
    trainTokenizer: unused,
    keepTokenizer: unused,
    takeTokenizer: unused,
    mixCorpus: unused,
    encodeShards: unused,
    measureCorpus: unused,
    finishCorpus: unused,
    findParent: unused,
    measureModel: unused,
    findChampion: unused,
    findSuccessor: unused,
    planTraining: async ({ previous }) => {
      calls.push('plan');
      return previous === null
        ? recipe
        : replanRecipe(planInputs, previous.recipe, previous.failures);
    },
    findTrainedModel: async ({ recipe: { phase, numSteps, learningRate } }) => {
      calls.push(`train ${phase} ${numSteps} steps at ${learningRate.toPrecision(2)}`);
      const model = {
        phase,
        stage: digest('e'),
        weights: digest('f'),
        numSteps,
        numTokens: 1000,
        finalLoss: 3,
        reused: true,
      };
      return { stage: digest('e'), model };
    },
    calibrateTraining: unused,
    leaseHost: unused,
    releaseHost: unused,
    stopTrainer: unused,
    openTrainingGeneration: unused,
    prepareTrainer: unused,
    watchTrainer: unused,
    exportOnnx: async () => ({
      stage: digest('1'),
      bundle: digest('b'),
      onnx: digest('2'),
      reused: false,
    }),
    evaluateModel: async () => {
      calls.push('evaluate');
      return { evaluation: evaluation(scores.shift()!), reused: false };
    },
    registerModelVersion: async () => {
      calls.push('register');
      return { version: 3, reused: false, tokenizer: digest('9'), champion: null };
    },
    requestDeployment: async ({ endpoint, request }) => {
      calls.push(`deploy ${request.model}@${request.version} to ${endpoint}`);
      return { generation: 1, bundle: digest('b'), url: 'http://127.0.0.1:1/', convergedMs: 5 };
    },
    declareVersion: unused,
    promoteModel: unused,
    awaitConvergence: unused,
  };
  return { activities, calls };
}

const file: PipelineFile = {
  version: 1,
  name: 'test',
  data: { sources: [{ path: './docs', license: 'internal' }] },
  questions: [
    { name: 'who', ask: ['Who in {year}?'], askHeldOut: ['Who then, {year}?'], answer: '{name}' },
  ],
  evaluate: { gates: { valBpb: { max: 2 }, 'questions.accuracy': { min: 0.8 } } },
  deploy: { endpoint: 'test' },
};

let id = 0;
async function run(
  activities: Activities,
  overrides: Partial<PipelineFile> = {},
  known: Pick<PipelineInput, 'given' | 'corpus'> = {},
) {
  const { nativeConnection: connection } = env;
  const others = await Promise.all(
    ['data', 'gpu'].map((taskQueue) => Worker.create({ connection, taskQueue, activities })),
  );
  const control = await Worker.create({
    connection,
    workflowBundle,
    taskQueue: 'control',
    activities,
  });
  const running = others.map((worker) => worker.run());
  const workflowId = `pipeline/test-${++id}`;
  try {
    return await control.runUntil(async () => {
      const handle = await env.client.workflow.start(pipelineWorkflow, {
        workflowId,
        taskQueue: 'control',
        args: [
          {
            run: `test-${id}`,
            pipeline: pipelineSchema.parse({ ...file, ...overrides }),
            baseDir: '/',
            machine,
            ...known,
          },
        ],
      });
      const outcome = await handle.result().catch((error: unknown) => error as WorkflowFailedError);
      return { outcome, status: await handle.query(runStatusQuery) };
    });
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
}

const good = [{ valBpb: 1.5 }, { 'questions.accuracy': 0.9 }, { 'questions.accuracy': 0.95 }];
const { pretrain, sft, dpo } = recipe;
const trained = (phase: { phase: string; numSteps: number; learningRate: number }) =>
  `train ${phase.phase} ${phase.numSteps} steps at ${phase.learningRate.toPrecision(2)}`;

describe('pipelineWorkflow', () => {
  test('reads a registered dataset in place of sources, under the name of its own', async () => {
    const { activities, calls } = fakes([...good]);
    const { status } = await run(activities, { data: { dataset: 'laws@3' } });
    expect(calls.slice(0, 2)).toEqual(['dataset laws@3', 'plan']);
    expect(status.stages[0]).toMatchObject({
      name: 'ingest',
      state: 'reused',
      summary: '12 documents, laws@3',
    });
  });

  test('takes text to a deployed model, and the status tells each stage', async () => {
    const { activities, calls } = fakes([...good]);
    const { outcome, status } = await run(activities);
    expect(outcome).toMatchObject({
      model: { name: 'test', version: 3, reused: false },
      digests: {
        tokenizer: digest('9'),
        weights: digest('f'),
        onnx: digest('2'),
        bundle: digest('b'),
      },
      endpoint: 'test',
    });
    expect(calls).toEqual([
      'plan',
      trained(pretrain),
      'evaluate',
      trained(sft!),
      'evaluate',
      trained(dpo!),
      'evaluate',
      'register',
      'deploy test@3 to test',
    ]);
    expect(status.state).toBe('finished');
    expect(status.stages.map(({ state }) => state)).not.toContain('waiting');
    expect(status.stages.find(({ name }) => name === 'preprocess')).toMatchObject({
      state: 'reused',
      summary: '10 kept, 2 dropped (2 duplicate exact), 0 redacted, 0.2M tokens',
    });
  });

  test('a base model that misses its gate is trained again by another recipe', async () => {
    const { activities, calls } = fakes([{ valBpb: 2.5 }, ...good]);
    const { outcome, status } = await run(activities);
    expect(outcome).toMatchObject({ model: { version: 3 } });
    const trainings = calls.filter((call) => call.startsWith('train pretrain'));
    expect(trainings).toHaveLength(2);
    expect(trainings[1]).not.toBe(trainings[0]);
    expect(status.notes.map(({ text }) => text)).toEqual([
      'gate failed: valBpb 2.500 is above 2; round 2 trains with another recipe',
    ]);
  });

  test('a tuned model that misses its gate is tuned again, and its base model is kept', async () => {
    const { activities, calls } = fakes([
      good[0]!,
      { 'questions.accuracy': 0.5 },
      { 'questions.accuracy': 0.5 },
      ...good.slice(1),
    ]);
    await run(activities);
    expect(calls.filter((call) => call.startsWith('train pretrain'))).toEqual([trained(pretrain)]);
    expect(calls.filter((call) => call.startsWith('train sft'))).toHaveLength(2);
  });

  test('a model that misses its gates to the end is not registered, and the failure says by how much', async () => {
    const { activities, calls } = fakes([{ valBpb: 2.5 }, { valBpb: 2.25 }]);
    const { outcome, status } = await run(activities);
    expect(outcome).toBeInstanceOf(WorkflowFailedError);
    expect((outcome as WorkflowFailedError).cause).toMatchObject({
      type: FailureType.EvaluationGateFailed,
    });
    expect(status).toMatchObject({ state: 'failed' });
    expect(status.failure).toContain('after 2 rounds: valBpb 2.250 is above 2');
    expect(calls).not.toContain('register');
  });

  test('a metric that was not measured does not pass its gate', async () => {
    const { activities } = fakes([{}, {}]);
    const { status } = await run(activities);
    expect(status.failure).toContain('valBpb was not measured');
  });

  test('goal base skips tuning and registers the base model', async () => {
    const { activities, calls } = fakes([good[0]!]);
    const planBase = async () => ({ ...recipe, sft: null, dpo: null });
    const { status } = await run(
      { ...activities, planTraining: planBase },
      { goal: 'base', evaluate: { gates: { valBpb: { max: 2 } } } },
    );
    expect(calls).toEqual([trained(pretrain), 'evaluate', 'register', 'deploy test@3 to test']);
    expect(
      status.stages.filter(({ state }) => state === 'skipped').map(({ name }) => name),
    ).toEqual(['fine-tune', 'evaluate-tuned', 'align', 'evaluate']);
  });

  test('phases without pretraining tune a version as it is, and its lineage stays whole', async () => {
    const { activities, calls } = fakes([
      { 'questions.accuracy': 0.2 },
      { 'questions.accuracy': 0.3 },
      { 'questions.accuracy': 0.3 },
      { 'questions.accuracy': 0.9 },
    ]);
    const phases: Phase[] = ['sft', 'orpo'];
    const before = [
      { phase: 'pretrain' as const, stage: digest('7') },
      { phase: 'dpo' as const, stage: digest('6') },
    ];
    const parent = { ...parentOf('test', 5), phases: before };
    const inits: unknown[] = [];
    let asked: unknown;
    let registered: unknown;
    const { outcome, status } = await run(
      {
        ...activities,
        findParent: async (input) => {
          asked = input;
          return parent;
        },
        planTraining: async ({ previous }) =>
          previous === null
            ? planPhases({ ...planInputs, parent }, phases)
            : replanPhases({ ...planInputs, parent }, phases, {
                previous: previous.recipe,
                missed: previous.failures,
              }),
        findTrainedModel: async (input) => {
          inits.push(input.init);
          return await activities.findTrainedModel(input);
        },
        registerModelVersion: async (input) => {
          registered = input.phases;
          return await activities.registerModelVersion(input);
        },
      },
      {
        startFrom: 'test@5',
        phases,
        evaluate: { gates: { 'questions.accuracy': { min: 0.8 } } },
      },
    );
    expect(outcome).toMatchObject({ model: { version: 3 } });
    expect(asked).toEqual({ startFrom: 'test@5', asItIs: true });
    expect(
      calls.filter((call) => call.startsWith('train')).map((call) => call.slice(0, 10)),
    ).toEqual(['train sft ', 'train orpo', 'train sft ', 'train orpo']);
    expect(inits.slice(0, 2)).toEqual([before[1], { phase: 'sft', stage: digest('e') }]);
    expect(registered).toEqual([
      ...before,
      { phase: 'sft', stage: digest('e') },
      { phase: 'orpo', stage: digest('e') },
    ]);
    expect(status.stages.flatMap(({ name, state }) => (state === 'skipped' ? [name] : []))).toEqual(
      ['pretrain', 'evaluate-base'],
    );
  });

  test('a share of older documents parts the corpus once, and all that follows takes that', async () => {
    const { activities } = fakes([...good]);
    const parent = parentOf('test', 5);
    const asked: unknown[] = [];
    const corpora = new Set<string>();
    const took =
      <Input extends { corpus: string }, Output>(work: (input: Input) => Promise<Output>) =>
      async (input: Input) => {
        corpora.add(input.corpus);
        return await work(input);
      };
    const replaying = {
      ...activities,
      findParent: async () => parent,
      findCorpus: async (input: Parameters<typeof activities.findCorpus>[0]) => {
        expect(input.data).not.toHaveProperty('replay');
        return await activities.findCorpus(input);
      },
      partReplay: async (input: unknown) => {
        asked.push(input);
        return digest('a');
      },
      planTraining: took(activities.planTraining),
      findTrainedModel: took(activities.findTrainedModel),
      evaluateModel: took(activities.evaluateModel),
      registerModelVersion: took(activities.registerModelVersion),
    };
    const { outcome } = await run(replaying, {
      startFrom: 'test@5',
      data: { ...file.data, replay: '25%' },
    });
    expect(outcome).toMatchObject({ model: { version: 3 } });
    const { name, version, pretrain } = parent;
    expect(asked).toEqual([{ corpus: digest('c'), parent: { name, version, pretrain } }]);
    expect([...corpora]).toEqual([digest('a')]);
  });

  test('where nothing aligns, the gates on answers are judged after SFT', async () => {
    const { activities, calls } = fakes([good[0]!, { 'questions.accuracy': 0.1 }, good[1]!]);
    const phases: Phase[] = ['pretrain', 'sft'];
    const { outcome, status } = await run(
      {
        ...activities,
        planTraining: async ({ previous }) =>
          previous === null
            ? planPhases(planInputs, phases)
            : replanPhases(planInputs, phases, {
                previous: previous.recipe,
                missed: previous.failures,
              }),
      },
      { phases },
    );
    expect(outcome).toMatchObject({ model: { version: 3 } });
    expect(calls.filter((call) => call.startsWith('train'))).toHaveLength(3);
    expect(status.notes[0]!.text).toContain('questions.accuracy 0.100 is below 0.8');
    expect(status.stages.flatMap(({ name, state }) => (state === 'skipped' ? [name] : []))).toEqual(
      ['align', 'evaluate'],
    );
  });

  test.each([
    ['once, and plans again by it', { stepMs: 120, note: null }, /^[^]*$/],
    [
      'in vain, says why and keeps its plan',
      { stepMs: null, note: 'host h1 is busy with x' },
      /not calibrated: host h1 is busy with x/,
    ],
    [
      'that fail, says why and keeps its plan for good',
      'the trainer ended',
      /not calibrated: the trainer ended; the plan keeps its estimate/,
    ],
  ])('a plan that asks for it times steps on the machine %s', async (_, outcome, noted) => {
    const { activities, calls } = fakes([good[0]!]);
    const asked: unknown[] = [];
    const { status } = await run(
      {
        ...activities,
        planTraining: async ({ calibrated }) => {
          asked.push(calibrated ?? 'first');
          const planned = { ...recipe, sft: null, dpo: null };
          return calibrated ? planned : { ...planned, calibrate: { numSteps: 20 } };
        },
        calibrateTraining: async ({ job, numSteps, limitMs }) => {
          asked.push([job.recipe.numSteps, numSteps, limitMs]);
          if (typeof outcome === 'string') throw ApplicationFailure.nonRetryable(outcome);
          return outcome;
        },
      },
      { goal: 'base', budget: { time: '2h' }, evaluate: { gates: { valBpb: { max: 2 } } } },
    );
    expect(asked).toEqual(['first', [pretrain.numSteps, 20, 216_000], true]);
    expect(calls[0]).toBe(trained(pretrain));
    expect(status.recipe).not.toHaveProperty('calibrate');
    expect(status.notes.map(({ text }) => text).join()).toMatch(noted);
  });

  test.each([
    ['its own champion follows that one and no other', 'test@champion', 'test', 5],
    ['a version by its number follows whichever is champion', 'test@5', 'test', undefined],
    ['the champion of another model does so too', 'other@champion', 'other', undefined],
  ])('a model that set out from %s', async (_, startFrom, name, expected) => {
    const { activities } = fakes([...good]);
    const asked: DeployRequest[] = [];
    const parent = parentOf(name, 5);
    await run(
      {
        ...activities,
        findParent: async () => parent,
        requestDeployment: async (input) => {
          asked.push(input.request);
          return await activities.requestDeployment(input);
        },
      },
      { startFrom },
    );
    expect(asked.map(({ expectedChampion }) => expectedChampion)).toEqual([expected]);
  });

  test.each([
    ['is measured before documents are read', false, ['measure /./gemma.json', 'ingest']],
    ['and measured by a lost execution is not read again', true, ['ingest']],
  ])('a configuration that was given %s, and planned with', async (_, known, expected) => {
    const { activities, calls } = fakes([...good]);
    const measured = {
      architecture: 'GemmaForCausalLM',
      config: { model_type: 'gemma' },
      hiddenSize: 64,
      numLayers: 2,
      contextLength: 64,
      tieEmbeddings: true,
      parameters: { fixed: 1000, perToken: 64 },
    };
    const asked: string[] = [];
    let planned: unknown;
    const { status } = await run(
      {
        ...activities,
        measureModel: async ({ config, baseDir }) => {
          asked.push(`measure ${baseDir}${config}`);
          return measured;
        },
        ingestCorpus: async (input) => {
          asked.push('ingest');
          return await activities.ingestCorpus(input);
        },
        planTraining: async (input) => {
          planned = input.given;
          return await activities.planTraining(input);
        },
      },
      { model: { config: './gemma.json' } },
      known ? { given: measured } : {},
    );
    expect(status.state).toBe('finished');
    expect(asked).toEqual(expected);
    expect(planned).toEqual(measured);
    expect(calls).toContain('register');
  });

  test('a configuration that is refused ends the run before documents are read', async () => {
    const { activities, calls } = fakes([]);
    const sentence = 'model.config ./gpt2.json: it could not be served.';
    const { status } = await run(
      {
        ...activities,
        measureModel: async () => {
          throw ApplicationFailure.nonRetryable(sentence, FailureType.InvalidConfig);
        },
        ingestCorpus: async () => {
          throw new Error('documents were read');
        },
      },
      { model: { config: './gpt2.json' } },
    );
    expect(status).toMatchObject({ state: 'failed', failure: sentence });
    expect(calls).toEqual([]);
  });

  test('a run whose champion moved fails with the sentence that says what is registered', async () => {
    const { activities, calls } = fakes([...good]);
    const { status } = await run(
      {
        ...activities,
        findParent: async () => parentOf('test', 5),
        requestDeployment: async () => {
          const sentence = 'test@3 stays registered and is not promoted';
          throw ApplicationFailure.nonRetryable(sentence, FailureType.ChampionMoved, 6);
        },
      },
      { startFrom: 'test@champion' },
    );
    expect(status).toMatchObject({
      state: 'failed',
      failure: 'test@3 stays registered and is not promoted',
    });
    expect(calls.at(-1)).toBe('register');
  });

  const exhausted = 'the budget is spent, and it has made no checkpoint';
  const exhaustedAt = (activities: Activities, phase: Phase): Activities => ({
    ...activities,
    findTrainedModel: async (job) => {
      if (job.recipe.phase === phase)
        throw ApplicationFailure.nonRetryable(exhausted, FailureType.BudgetExhausted);
      return await activities.findTrainedModel(job);
    },
  });
  const skippedOf = ({ stages }: { stages: { name: string; state: string }[] }) =>
    stages.flatMap(({ name, state }) => (state === 'skipped' ? [name] : []));

  test('where the budget leaves DPO no time, the tuned model is judged and deployed', async () => {
    const { activities, calls } = fakes([...good]);
    const { status } = await run(exhaustedAt(activities, 'dpo'));
    expect(status.state).toBe('finished');
    expect(calls.slice(-3)).toEqual(['evaluate', 'register', 'deploy test@3 to test']);
    expect(calls.filter((call) => call === 'evaluate')).toHaveLength(2);
    expect(skippedOf(status)).toEqual(['align', 'evaluate']);
    expect(status.notes).toMatchObject([
      { stage: 'align', text: `${exhausted}; the model before it stands` },
    ]);
    expect(status.result?.evaluations.map(({ stage }) => stage)).toEqual([
      'evaluate-base',
      'evaluate-tuned',
    ]);
  });

  test('where the budget leaves SFT no time, the base must keep the gates on answers', async () => {
    const { activities, calls } = fakes([good[0]!]);
    const { status } = await run(exhaustedAt(activities, 'sft'));
    expect(status.failure).toContain('questions.accuracy was not measured');
    expect(calls).toEqual(['plan', trained(pretrain), 'evaluate']);
    expect(skippedOf(status)).toEqual(['fine-tune', 'evaluate-tuned', 'align', 'evaluate']);
  });

  test('where the budget leaves the first phase no time, there is no model', async () => {
    const { activities, calls } = fakes([]);
    const { status } = await run(exhaustedAt(activities, 'pretrain'));
    expect(status).toMatchObject({ state: 'failed', failure: exhausted });
    expect(calls).toEqual(['plan']);
  });

  test('a model is not released under a gate that nothing has evaluated', async () => {
    const { activities, calls } = fakes([good[0]!]);
    const planBase = async () => ({ ...recipe, sft: null, dpo: null });
    const { status } = await run({ ...activities, planTraining: planBase });
    expect(status.failure).toContain('nothing evaluated the gate on questions.accuracy');
    expect(calls).not.toContain('register');
  });

  test('what ingest could not read is on its line, in a note, and told to preprocessing', async () => {
    const { activities } = fakes([...good]);
    const dropped = { binary: 3, changed_while_read: 1 };
    let unread: unknown;
    const { status } = await run({
      ...activities,
      ingestCorpus: async (input) => ({ ...(await activities.ingestCorpus(input)), dropped }),
      findCorpus: async (input) => {
        ({ unread } = input);
        return await activities.findCorpus(input);
      },
    });
    expect(status.stages[0]!.summary).toBe(
      '12 documents, test@1; 4 not read (3 binary, 1 changed while read)',
    );
    expect(status.notes[0]).toMatchObject({
      stage: 'ingest',
      text: '4 not read (3 binary, 1 changed while read): they are not in test',
    });
    expect(unread).toEqual(dropped);
  });

  test('a run that goes on without its history takes the corpus that it had, whatever has become of other files', async () => {
    const { activities } = fakes([...good]);
    const corpora: string[] = [];
    const without = {
      ...activities,
      readEvaluationSets: async (): Promise<never> => {
        throw new Error('sets/law.jsonl: found no such file');
      },
      planTraining: async (asked: Parameters<typeof activities.planTraining>[0]) => {
        corpora.push(asked.corpus);
        return await activities.planTraining(asked);
      },
    };
    const overrides = { data: { ...file.data, decontaminate: ['sets/*.jsonl'] } };
    const { outcome, status } = await run(without, overrides, { corpus: digest('7') });
    expect(outcome).toMatchObject({ model: { version: 3 } });
    expect(new Set(corpora)).toEqual(new Set([digest('7')]));
    expect(status.stages[1]).toMatchObject({ name: 'preprocess', state: 'reused' });
  });

  test('a corpus that the store has no more is prepared again', async () => {
    const { activities } = fakes([...good]);
    const corpora: string[] = [];
    const without = {
      ...activities,
      findPreparedCorpus: async () => null,
      planTraining: async (asked: Parameters<typeof activities.planTraining>[0]) => {
        corpora.push(asked.corpus);
        return await activities.planTraining(asked);
      },
    };
    await run(without, {}, { corpus: digest('7') });
    expect(new Set(corpora)).toEqual(new Set([digest('c')]));
  });

  test('a held-out part that is too small to measure by is noted where the corpus is made', async () => {
    const { activities } = fakes([...good]);
    const { status } = await run({
      ...activities,
      findCorpus: async (input) => {
        const { found, ...corpus } = await activities.findCorpus(input);
        const summary = { ...found!.summary, numHeldOutTokens: 310 };
        return { ...corpus, found: { ...found!, summary } };
      },
    });
    expect(status.notes[0]).toMatchObject({
      stage: 'preprocess',
      text: expect.stringMatching(/^only 1 document with 310 tokens held out: .*data\.heldOut/),
    });
  });

  test('what becomes of the originals is told to ingest, and to nobody after it', async () => {
    const sources: PipelineFile['data']['sources'] = [{ path: 'docs', license: 'internal' }];
    const heard: unknown[] = [];
    for (const originals of [undefined, { keep: '90d', encrypt: true }]) {
      const { activities } = fakes([...good]);
      await run(
        {
          ...activities,
          ingestCorpus: async (input) => {
            heard.push('originals' in input ? input.originals : 'nothing');
            return await activities.ingestCorpus(input);
          },
          findCorpus: async (input) => {
            expect(input.data).not.toHaveProperty('originals');
            return await activities.findCorpus(input);
          },
        },
        { data: { sources, ...(originals && { originals }) } },
      );
    }
    expect(heard).toEqual(['nothing', { keep: 90 * 86_400_000, encrypt: true }]);
  });

  test('a fault of our own code in an activity fails the run at its first attempt', async () => {
    const { activities } = fakes([]);
    let attempts = 0;
    const planTraining = async (): Promise<never> => {
      attempts += 1;
      throw new TypeError('undefined is not a recipe');
    };
    const { status } = await run({ ...activities, planTraining });
    expect(status.failure).toContain('undefined is not a recipe');
    expect(attempts).toBe(1);
  });

  test('an unservable model fails the run with the words of the probe', async () => {
    const { activities } = fakes([]);
    const evaluateModel = async (): Promise<never> => {
      throw ApplicationFailure.nonRetryable(
        'logits differ by 0.5 (tolerance 0.001)',
        FailureType.ModelNotServable,
      );
    };
    const { status } = await run({ ...activities, evaluateModel });
    expect(status).toMatchObject({
      state: 'failed',
      failure: 'logits differ by 0.5 (tolerance 0.001)',
    });
    expect(status.stages.find(({ name }) => name === 'evaluate-base')).toMatchObject({
      state: 'failed',
    });
  });
});
