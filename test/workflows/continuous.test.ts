import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApplicationFailure } from '@temporalio/activity';
import type { ParentModel } from '../../activities/plan.ts';
import type { DeployRequest, RegisterInput } from '../../activities/release.ts';
import { traceHistory } from '../../client/report/history.ts';
import type { Trace } from '../../client/report/trace.ts';
import { FailureType } from '../../config/failures.ts';
import { pipelineSchema, type Pipeline, type PipelineFile } from '../../config/pipeline.ts';
import type { Recipe } from '../../config/recipe.ts';
import { planRecipe, replanRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { continuousPretrainingWorkflow } from '../../workflows/continuous.ts';
import type { ContinuousResult } from '../../workflows/messages.ts';
import { machine, parentOf, planInputs } from '../support/recipes.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
}, 60_000);
afterAll(async () => {
  await env.teardown();
});

const digest = (letter: string) => letter.repeat(64);
const champion = parentOf('policy', 3);
/** A version of its line that the champion was let through beside, being a little worse. */
const best = { name: 'policy', version: 2, pretrain: digest('8') };
const file: PipelineFile = {
  version: 1,
  name: 'policy',
  data: { sources: [{ path: './docs', license: 'internal' }] },
  evaluate: { gates: { valBpb: { max: 2 } } },
};

interface World {
  champion: ParentModel | null;
  /** Digest of what is read now. */
  dataset: string;
  /** Bits a byte on the held-out text: of the champion, and of the challenger of each round. */
  valBpb: { champion?: number; anchor?: number; challengers: number[] };
  /** The champion of the registry by the time that the challenger is promoted. */
  moved?: number;
  /** A version that was made from the champion of the same documents. */
  successor?: number;
}

/** Stages that succeed at once; `calls` says what was asked of them. */
function fakes({ champion: before, dataset, valBpb, successor, moved }: World) {
  const calls: string[] = [];
  const promote = ({ version, expectedChampion }: DeployRequest) => {
    const now = moved ?? before?.version ?? null;
    if (expectedChampion === undefined) throw new TypeError('expected a condition');
    if (expectedChampion === now) return;
    const message = `policy@${version} is late`;
    throw ApplicationFailure.nonRetryable(message, FailureType.ChampionMoved, now);
  };
  const inputs: PlanInputs = { ...planInputs, goal: 'base', parent: before };
  const activities = {
    recordSpecification: async ({ pipeline }: { pipeline: Pipeline }) => {
      pipelineSchema.parse(pipeline);
    },
    findChampion: async () => before,
    findSuccessor: async () => successor ?? null,
    findParent: async ({ startFrom }: { startFrom: string }) => {
      calls.push(`start from ${startFrom}`);
      return before;
    },
    findDataset: async ({ dataset: name }: { dataset: string }) => {
      calls.push(`dataset ${name}`);
      const found = { dataset: { name, version: 2, digest: dataset }, numDocuments: 1204 };
      return { ...found, bytes: 700_000, dropped: {}, reused: true };
    },
    ingestCorpus: async ({ name }: { name: string }) => {
      calls.push('ingest');
      const found = { dataset: { name, version: 2, digest: dataset }, numDocuments: 1204 };
      return { ...found, bytes: 700_000, dropped: {}, reused: false };
    },
    findCorpus: async ({ tokenizer }: { tokenizer?: { file: { sha256: string } } }) => {
      calls.push(tokenizer === undefined ? 'new tokenizer' : 'kept tokenizer');
      const counts = { numDocuments: 1, kept: 1, dropped: {}, redacted: {}, numTokens: 1 };
      const found = { corpus: digest('c'), reused: true, summary: counts };
      return { corpus: digest('c'), numShards: 1, found };
    },
    planTraining: async ({ previous }: { previous: { recipe: Recipe; failures: [] } | null }) =>
      previous === null
        ? planRecipe(inputs)
        : replanRecipe(inputs, previous.recipe, [{ metric: 'valBpb', value: 1 }]),
    findTrainedModel: async (job: {
      recipe: { phase: string };
      init: { stage: string } | null;
    }) => {
      calls.push(`train from ${job.init?.stage[0] ?? 'scratch'}`);
      const figures = { numSteps: 1, numTokens: 1000, finalLoss: 3, reused: true };
      const stage = digest('e');
      return {
        stage,
        model: { phase: job.recipe.phase, stage, weights: digest('f'), ...figures },
      };
    },
    exportOnnx: async ({ model }: { model: { stage: string } }) => {
      const own = { [champion.pretrain!]: '2', [best.pretrain]: '4' }[model.stage] ?? '1';
      return { stage: digest(own), bundle: digest('b'), onnx: digest('0'), reused: false };
    },
    evaluateModel: async ({ exported: stage }: { exported: string }) => {
      const rivals = { [digest('2')]: valBpb.champion, [digest('4')]: valBpb.anchor };
      const value = stage in rivals ? rivals[stage] : valBpb.challengers.shift();
      const metrics = { valBpb: { value, stderr: null, count: 10 } };
      const latency = { firstTokenMs: 1, tokensPerSecond: 100, probeDifference: 0 };
      const evaluation = { stage: digest('3'), bundle: digest('b'), metrics, latency };
      return { evaluation, reused: false };
    },
    registerModelVersion: async ({ parent, anchor }: Pick<RegisterInput, 'parent' | 'anchor'>) => {
      const best = anchor === undefined ? '' : `, best ${anchor.version}`;
      calls.push(`register with parent ${parent?.version ?? 'none'}${best}`);
      return { version: 4, reused: false, tokenizer: digest('9'), champion: null };
    },
    requestDeployment: async ({ request }: { request: DeployRequest }) => {
      promote(request);
      calls.push(`deploy ${request.version}`);
      return { generation: 1, bundle: digest('b'), url: 'http://127.0.0.1:1/', convergedMs: 5 };
    },
    promoteModel: async (request: DeployRequest) => {
      promote(request);
      calls.push(`promote ${request.version} by ${request.by}`);
    },
  };
  return { activities, calls };
}

let id = 0;
async function run(
  activities: object,
  overrides: Partial<PipelineFile> = {},
  after: () => Promise<void> = async () => {},
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
  try {
    return await control.runUntil(async () => {
      const outcome = await env.client.workflow
        .execute(continuousPretrainingWorkflow, {
          workflowId: `continuous/policy-2026-11-${10 + ++id}T03:00:00Z`,
          taskQueue: 'control',
          args: [
            { pipeline: pipelineSchema.parse({ ...file, ...overrides }), baseDir: '/', machine },
          ],
        })
        .catch((error: unknown) => error as WorkflowFailedError);
      await after();
      return outcome;
    });
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
}
const runOfNow = () => `policy-2026-11-${10 + id}t03-00`;

test('a dataset that the champion was trained on ends at once, and says so', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('d'),
    valBpb: { challengers: [] },
  });
  expect(await run(activities)).toEqual<ContinuousResult>({
    outcome: 'nothing-new',
    reason: 'nothing new since policy@3: 1,204 documents, the same digest',
    run: null,
    champion: { name: 'policy', version: 3 },
  });
  expect(calls).toEqual(['ingest']);
});

test('a schedule over a dataset looks for its newest version, and trains when that is another', async () => {
  const known = fakes({ champion, dataset: digest('d'), valBpb: { challengers: [] } });
  const data = { dataset: 'laws' };
  expect(await run(known.activities, { data })).toMatchObject({ outcome: 'nothing-new' });
  expect(known.calls).toEqual(['dataset laws']);
  const grown = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.5, challengers: [1.4] },
  });
  expect(await run(grown.activities, { data })).toMatchObject({ outcome: 'promoted' });
  expect(grown.calls).toContain('train from ' + champion.pretrain![0]!);
  expect(grown.calls).not.toContain('ingest');
});

test('a version that was made of the same documents and taken back is not made champion again', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { challengers: [] },
    successor: 4,
  });
  expect(await run(activities)).toMatchObject({
    outcome: 'kept',
    reason: expect.stringContaining('npx temper models promote policy@4') as string,
    run: null,
    champion: { name: 'policy', version: 3 },
  });
  expect(calls).toEqual(['ingest']);
});

test('new documents train on from the champion, with its tokenizer, and a better challenger takes its place', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.47, challengers: [1.45] },
  });
  expect(await run(activities)).toEqual<ContinuousResult>({
    outcome: 'promoted',
    reason: 'policy@4 is champion: 1.450 bits a byte on held-out text, policy@3 1.470',
    run: runOfNow(),
    champion: { name: 'policy', version: 4 },
  });
  expect(calls).toEqual([
    'ingest',
    'start from policy@3',
    'kept tokenizer',
    'train from 7',
    'register with parent 3',
    `promote 4 by run ${runOfNow()}`,
  ]);
});

test('an architecture that the file asks for is that of the first model: a champion has its own', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.47, challengers: [1.45] },
  });
  expect(await run(activities, { model: { family: 'qwen3' } })).toMatchObject({
    outcome: 'promoted',
  });
  expect(calls).toContain('start from policy@3');
});

test('a challenger that is worse by more than 1 % in every round is not registered, and the champion stays', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.47, challengers: [1.53, 1.52] },
  });
  expect(await run(activities)).toEqual<ContinuousResult>({
    outcome: 'kept',
    reason: 'kept champion policy@3: challenger 1.520 > 1.470 bits a byte',
    run: runOfNow(),
    champion: { name: 'policy', version: 3 },
  });
  expect(calls.filter((call) => /register|promote|deploy/.test(call))).toEqual([]);
  expect(calls.filter((call) => call.startsWith('train'))).toHaveLength(2);
});

test('a challenger that is worse by less than 1 % is promoted', async () => {
  const { activities } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.47, challengers: [1.484] },
  });
  expect(await run(activities)).toMatchObject({ outcome: 'promoted' });
});

test('what is let through while worse keeps the best of its line as the one to equal', async () => {
  const { activities, calls } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 1.47, challengers: [1.484] },
  });
  await run(activities);
  expect(calls).toContain('register with parent 3, best 3');
});

test('night after night, the 1 % is that of the best of the line and does not add up', async () => {
  const { activities, calls } = fakes({
    champion: { ...champion, anchor: best },
    dataset: digest('a'),
    // Within 1 % of the champion, and not within 1 % of what the champion itself was let through beside.
    valBpb: { champion: 1.484, anchor: 1.47, challengers: [1.49, 1.4849] },
  });
  expect(await run(activities)).toEqual<ContinuousResult>({
    outcome: 'kept',
    reason:
      'kept champion policy@3: challenger 1.485 > 1.470 bits a byte of policy@2, the best of its line',
    run: runOfNow(),
    champion: { name: 'policy', version: 3 },
  });
  expect(calls.filter((call) => /register|promote|deploy/.test(call))).toEqual([]);
});

test('the best of the line stays the one to equal until a model is as good', async () => {
  for (const [valBpb, registered] of [
    [1.484, 'register with parent 3, best 2'],
    [1.47, 'register with parent 3'],
  ] as const) {
    const { activities, calls } = fakes({
      champion: { ...champion, anchor: best },
      dataset: digest('a'),
      valBpb: { champion: 1.48, anchor: 1.47, challengers: [valBpb] },
    });
    expect(await run(activities)).toMatchObject({ outcome: 'promoted' });
    expect(calls).toContain(registered);
  }
});

test.each([
  ['by its endpoint', { deploy: { endpoint: 'policy' } }],
  ['by nobody', {}],
])(
  'a champion that a person chose while the challenger trained stays, served %s',
  async (_, served) => {
    const { activities, calls } = fakes({
      champion,
      dataset: digest('a'),
      valBpb: { champion: 1.47, challengers: [1.4] },
      moved: 2,
    });
    expect(await run(activities, served)).toEqual<ContinuousResult>({
      outcome: 'kept',
      reason: 'kept champion policy@2: policy@4 is late',
      run: runOfNow(),
      champion: { name: 'policy', version: 2 },
    });
    expect(calls.at(-1)).toBe('register with parent 3');
  },
);

test('a first champion takes nobody’s place: one that came meanwhile stays', async () => {
  const { activities, calls } = fakes({
    champion: null,
    dataset: digest('a'),
    valBpb: { challengers: [1.6] },
    moved: 1,
  });
  expect(await run(activities)).toMatchObject({
    outcome: 'kept',
    reason: 'kept champion policy@1: policy@4 is late',
    champion: { name: 'policy', version: 1 },
  });
  expect(calls.at(-1)).toBe('register with parent none');
});

test('the report of a challenger is about the challenger, and names what it went on from', async () => {
  const { activities } = fakes({
    champion: { ...champion, anchor: best },
    dataset: digest('a'),
    valBpb: { champion: 1.47, anchor: 1.46, challengers: [1.45] },
  });
  const { findTrainedModel } = activities;
  activities.findTrainedModel = async (job) => {
    const found = await findTrainedModel(job);
    const learningRates = [
      { order: 2, step: 900, scale: 0.25 },
      { order: 1, step: 40, scale: 0.5 },
    ];
    return { ...found, model: { ...found.model, learningRates } };
  };
  let trace: Trace | null = null;
  await run(activities, {}, async () => {
    trace = await traceHistory(env.client, runOfNow());
  });
  expect(trace).toMatchObject({
    dataset: { digest: digest('a') },
    parent: { name: 'policy', version: 3, pretrain: champion.pretrain },
    models: [
      {
        learningRates: [
          { step: 40, scale: 0.5 },
          { step: 900, scale: 0.25 },
        ],
      },
    ],
    exports: [{ phase: 'pretrain', stage: digest('1') }],
    evaluations: [{ evaluation: { metrics: { valBpb: { value: 1.45 } } } }],
  });
});

test('a gate of the file that is missed keeps the champion too', async () => {
  const { activities } = fakes({
    champion,
    dataset: digest('a'),
    valBpb: { champion: 2.6, challengers: [2.5, 2.4] },
  });
  const result = (await run(activities)) as ContinuousResult;
  expect(result.outcome).toBe('kept');
  expect(result.reason).toContain('kept champion policy@3: evaluation gate failed after 2 rounds');
  expect(result.reason).toContain('valBpb 2.400 is above 2');
});

test('without a champion it starts from scratch, and the endpoint promotes what it serves', async () => {
  const { activities, calls } = fakes({
    champion: null,
    dataset: digest('a'),
    valBpb: { challengers: [1.6] },
  });
  expect(await run(activities, { deploy: { endpoint: 'policy' } })).toEqual<ContinuousResult>({
    outcome: 'promoted',
    reason: 'policy@4 is the first champion: 1.600 bits a byte on held-out text',
    run: runOfNow(),
    champion: { name: 'policy', version: 4 },
  });
  expect(calls).toEqual([
    'ingest',
    'new tokenizer',
    'train from scratch',
    'register with parent none',
    'deploy 4',
  ]);
});

test('without a champion to keep, a missed gate fails, so that the schedule pauses', async () => {
  const { activities } = fakes({
    champion: null,
    dataset: digest('a'),
    valBpb: { challengers: [2.5, 2.5] },
  });
  expect(await run(activities)).toBeInstanceOf(WorkflowFailedError);
});
