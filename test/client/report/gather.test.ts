/** The facts of runs that a real registry and kept histories of Temporal tell. */
import path from 'node:path';
import { readFileSync } from 'node:fs';
import { WorkflowNotFoundError } from '@temporalio/common';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeDataset, summariseDatasets } from '../../../client/datasets.ts';
import { parsePipeline } from '../../../client/pipeline-file.ts';
import { gatherReport, pipelineText } from '../../../client/report/gather.ts';
import { renderReport } from '../../../client/report/render.ts';
import { curveOf, kindOf, thin } from '../../../client/report/training.ts';
import {
  corpusManifestSchema,
  importedModelSchema,
  type CorpusManifest,
  type Evaluation,
  type ModelManifest,
} from '../../../config/manifests.ts';
import { pipelineSchema } from '../../../config/pipeline.ts';
import { putBlob, putJsonLines } from '../../../registry/blobs.ts';
import { registerModel } from '../../../registry/models.ts';
import { addRunInputs, putRunRecord } from '../../../registry/runs.ts';
import { recordStage, stageDigest } from '../../../registry/stages.ts';
import {
  commitCheckpoint,
  commitFinished,
  commitRollback,
  openGeneration,
  putEvents,
} from '../../../registry/training.ts';
import { stageNames } from '../../../workflows/messages.ts';
import {
  checkpointOf,
  digestOf,
  modelOf,
  registerDataset,
  versionOf,
} from '../../support/records.ts';
import { planRecipe } from '../../../recipes/plan.ts';
import { machine, planInputs, recipe } from '../../support/recipes.ts';
import { startS3, type TestS3 } from '../../support/s3.ts';

const now = new Date(Date.UTC(2026, 0, 2));
const corpusKey = digestOf('9');
/** So many documents of ten tokens. */
const ten = (numDocuments: number) => ({ numDocuments, numTokens: numDocuments * 10, bytes: 1 });
const pipeline = pipelineSchema.parse({
  version: 1,
  name: 'policy',
  data: { sources: [{ path: './docs', license: 'internal' }] },
  goal: 'base',
  budget: { time: '20s' },
  evaluate: { gates: { valBpb: { max: 1.8 } } },
});
const evaluation: Evaluation = {
  schemaVersion: 1,
  bundle: digestOf('b'),
  metrics: { valBpb: { value: 1.9, stderr: 0.1, count: 5 } },
  latency: { firstTokenMs: 8, tokensPerSecond: 5000, probeDifference: 2e-6 },
  samples: [{ question: '誰？', expected: '法務部', answer: '' }],
};

let s3: TestS3;
let corpus: CorpusManifest;

beforeAll(async () => {
  s3 = await startS3();
  const { store } = s3;
  const raw = await putJsonLines(store, [
    { id: '1', source: 'a', text: 'mail chen@example.tw', metadata: {} },
  ]);
  const dataset = await registerDataset(store, {
    schemaVersion: 1,
    name: 'policy',
    digest: digestOf('d'),
    sources: [{ name: './docs', license: 'internal', numDocuments: 12, bytes: 900 }],
    shards: [{ documents: raw, numDocuments: 1 }],
    numDocuments: 12,
    bytes: 900,
    dropped: { unknown_type: 1 },
    droppedDocuments: await putJsonLines(store, [
      { id: 'p', source: 'x.pdf', reason: 'unknown_type', detail: 'expected .txt' },
    ]),
  });
  const blob = await putBlob(store, Buffer.from('x'));
  const index = await putBlob(
    store,
    Buffer.from('{"first":0,"id":"1","num":10}\n{"first":10,"id":"2","num":30}\n'),
  );
  const short = Array.from({ length: 7 }, (_, number) => ({
    id: `s${number}`,
    source: `s${number}.txt`,
    reason: 'too_short',
    detail: 'found 2 words',
    sample: `call <PHONE> or mail <EMAIL> ${'字'.repeat(272)}`,
  }));
  corpus = corpusManifestSchema.parse({
    schemaVersion: 1,
    dataset: { name: 'policy', version: dataset.version, digest: dataset.digest },
    tokenizer: blob,
    vocabSize: 512,
    tokenBytes: 2,
    shards: [{ tokens: blob, index, numDocuments: 2, numTokens: 40 }],
    heldOut: { documents: blob, tokens: blob, numDocuments: 1, numTokens: 8, bytes: 30 },
    compression: {
      reference: 'SmolLM2-135M-Instruct',
      languages: [
        {
          language: 'zh-Hant',
          numDocuments: 1,
          bytes: 300,
          characters: 100,
          words: null,
          tokens: 80,
          bitsPerToken: 5.25,
          reference: { tokens: 160, bitsPerToken: 6 },
        },
      ],
    },
    mixture: {
      sources: [
        { source: 'laws', weight: 3, repeat: 4, whole: ten(1), used: ten(1), epoch: ten(3) },
        { source: 'mail', weight: 1, whole: ten(2), used: ten(1), epoch: ten(1) },
      ],
    },
    instructions: null,
    statistics: {
      numDocuments: 12,
      kept: 3,
      dropped: { too_short: 7, duplicate_near: 2 },
      redacted: { email: 2 },
      numTokens: 40,
      bytes: 200,
      characters: 150,
      scripts: { han: 2, latin: 1 },
    },
    droppedDocuments: await putJsonLines(store, [
      ...short,
      // As written before samples were kept: a reason and no text.
      { id: 'n1', source: 'n1.txt', reason: 'duplicate_near', detail: digestOf('1') },
      {
        id: 'n2',
        source: 'n2.txt',
        reason: 'duplicate_near',
        detail: digestOf('1'),
        survivor: 'kept.txt',
        sample: '幾乎相同',
      },
    ]),
  });
  await recordStage(store, 'preprocess', corpusKey, corpusManifestSchema, corpus);
  for (const run of ['policy-done', 'policy-cut']) {
    await putRunRecord(store, run, 'spec', { schemaVersion: 1, run, pipeline, machine });
    await putRunRecord(store, run, 'plan', recipe);
    await train(run, run === 'policy-done');
  }
  const version = versionOf('policy', digestOf('b'));
  await registerModel(
    store,
    {
      ...version,
      lineage: {
        ...version.lineage,
        run: 'policy-done',
        corpus: stageDigest(corpus),
        recipe: stageDigest(recipe),
        dataset: corpus.dataset,
      },
      evaluations: { 'evaluate-base': evaluation },
    },
    now,
  );
});
afterAll(async () => {
  await s3?.stop();
});

const step = (number: number, at: number) => ({
  event: 'step',
  step: number,
  loss: 5 - number / 10,
  lr: 0.01,
  grad_norm: 1,
  tokens_per_second: 100,
  num_tokens: number * 10,
  at,
});

/** Two generations: the second resumes from step 2 and computes step 3 again. */
async function train(
  run: string,
  finish: boolean,
  more: Partial<Pick<ModelManifest, 'learningRates' | 'adapted'>> = {},
): Promise<void> {
  const { store } = s3;
  const trial = { run, phase: 'pretrain', round: 0, trial: 0 };
  const file = await putBlob(store, Buffer.from(`weights of ${run}`));
  const stage = digestOf('7');
  const first = await openGeneration(store, trial, { stage, writer: 'one' });
  const events = [1, 2, 3].map((number) => step(number, 1000 + number));
  await putEvents(store, trial, 1, 0, [
    { event: 'start', step: 0, resumedFrom: null, at: 1000 },
    ...events,
  ]);
  await commitCheckpoint(store, trial, first, checkpointOf(2, 1, file));
  const second = await openGeneration(store, trial, { stage, writer: 'two' });
  await putEvents(store, trial, 2, 1, [
    { event: 'start', step: 2, resumedFrom: 'checkpoints/2', at: 1010 },
    step(3, 1011),
    step(4, 1012),
    { event: 'eval', step: 4, val_loss: 3, val_bpb: 1.9, at: 1013 },
  ]);
  const model = { ...modelOf(file, 4.6), ...more };
  if (finish) await commitFinished(store, trial, second, model);
}

const gather = (run: string, temporal: Client | null = null) =>
  gatherReport({ temporal, store: s3.store, run, now, code: null });

describe('from S3 alone', () => {
  test('a finished run is told with plan, curve, evaluations, gates, data and digests', async () => {
    const report = await gather('policy-done');
    expect(report).toMatchObject({
      state: 'finished',
      machine,
      model: { name: 'policy', version: 1, reused: false, bundle: digestOf('b') },
      gates: [{ metric: 'valBpb', max: 1.8, value: 1.9, passed: false }],
    });
    expect(report.plan?.comparisons.find(({ what }) => what === 'valBpb')?.found).toBe(1.9);
    expect(report.phases).toMatchObject([
      {
        phase: 'pretrain',
        generations: 2,
        checkpoints: [{ step: 2, generation: 1 }],
        evaluations: [{ step: 4, valBpb: 1.9 }],
        marks: [{ kind: 'resumed', step: 2 }],
        trainingMs: 13_000,
        rollbacks: [],
        plateau: null,
        finalLoss: 4.6,
      },
    ]);
    expect(report.phases[0]?.points.map((point) => point.step)).toEqual([1, 2, 3, 4]);
    expect(report.stages.map(({ name }) => name)).toEqual([...stageNames]);
    expect(report.repeat.compare.map(({ what }) => what)).toEqual([
      'dataset',
      'tokenizer',
      'recipe',
      'weights of pretrain',
      'bundle',
    ]);
    expect(report.missing[0]).toContain('this is what S3 keeps');
  });

  test('a run that ended before its model says what is not there', async () => {
    const report = await gather('policy-cut');
    expect(report.state).toBe('unknown');
    // The recipe is the same, but the version that it gave to the other run is not this run's.
    expect(report.model).toBeNull();
    expect(report.data?.corpus?.kept).toBe(3);
    expect(report.missing).toContain('No model version: nothing of it is stored.');
    expect(renderReport(report)).toContain('Temporal knows no run of this name');
  });

  test('a run that had orders and went on from a champion names both, and a repeat is pinned to that version', async () => {
    const { store } = s3;
    const from = { ...pipeline, name: 'tuned', startFrom: 'base@champion' };
    await putRunRecord(store, 'tuned-1', 'spec', { pipeline: from, machine });
    await putRunRecord(store, 'tuned-1', 'plan', recipe);
    await train('tuned-1', true, { learningRates: [{ step: 3, scale: 0.5 }] });
    const base = versionOf('base', digestOf('1'));
    base.lineage.phases = base.lineage.phases.map((phase) => ({ ...phase, stage: digestOf('6') }));
    await registerModel(store, base, now);
    const early = await gather('tuned-1');
    expect(early.parent).toBeNull();
    expect(early.missing).toContain(
      'Which version base@champion was is not stored before the model is registered.',
    );
    const version = versionOf('tuned', digestOf('2'));
    const parent = { name: 'base', version: 1 };
    await registerModel(store, { ...version, lineage: { ...version.lineage, parent } }, now);

    const report = await gather('tuned-1');
    expect(report.parent).toEqual(parent);
    expect(report.phases[0]?.learningRates).toEqual([{ step: 3, scale: 0.5 }]);
    expect(report.repeat.orders).toEqual([{ phase: 'pretrain', step: 3, scale: 0.5 }]);
    expect(report.repeat.pipeline).toContain('startFrom: base@1\n');
    expect(report.repeat.commands).toContain('npx temper models show base@1');
    expect(report.stages.find(({ name }) => name === 'pretrain')?.inputs).toContainEqual({
      what: 'pretraining of base@1',
      digest: digestOf('6'),
    });
    const page = renderReport(report);
    expect(page).toContain('×0.5 from step 3');
    expect(page).toContain('from base@1');
  });

  test('a run that was taken back and ended early tells each decision, and shows only what counts', async () => {
    const { store } = s3;
    const trial = { run: 'back-1', phase: 'pretrain', round: 0, trial: 0 };
    const first = await openGeneration(store, trial, { stage: digestOf('7'), writer: 'one' });
    await putEvents(store, trial, 1, 0, [step(1, 1001), step(2, 1002), step(3, 1003)]);
    const fault = { kind: 'spike', first: 3, step: 6, found: 7.1, bound: 4.2 } as const;
    const decision = { step: 2, skippedTo: 6, scale: 0.5, fault, at: new Date(0).toISOString() };
    await commitRollback(store, trial, first, decision);
    await openGeneration(store, trial, { stage: digestOf('7'), writer: 'two' });
    const plateau = { step: 4, end: 5, found: 3.01, bound: 2.99 };
    await putEvents(store, trial, 2, 0, [
      { ...step(3, 1013), loss: 2.5 },
      { event: 'plateau', ...plateau, at: 1014 },
    ]);
    await putRunRecord(store, 'back-1', 'spec', { pipeline, machine });

    const [phase] = (await gather('back-1')).phases;
    expect(phase).toMatchObject({ rollbacks: [{ ...decision, fence: 1 }], plateau });
    expect(phase!.points.map((point) => point.step)).toEqual([1, 2, 3]);
    expect(phase!.points.at(-1)!.loss).toBe(2.5);
    const page = renderReport(await gather('back-1'));
    expect(page).toContain('taken back 1 time');
    expect(page).toContain('loss 7.10 since step 3, at most 4.20 expected: taken back to step 2');
    expect(page).toContain('ended early on a plateau');
    expect(page).toMatch(/3\.010 at best, where at most 2\.990 was asked/);
  });

  test('a run that adapted a base model names it, its licence, its import and what was gained', async () => {
    const { store } = s3;
    const from = { ...pipeline, name: 'adapted', startFrom: 'smollm2', goal: 'adapt' as const };
    const adapting = planRecipe({
      ...planInputs,
      goal: 'adapt',
      base: { title: 'SmolLM2', shape: recipe.model },
    });
    await putRunRecord(store, 'adapted-1', 'spec', { pipeline: from, machine });
    await putRunRecord(store, 'adapted-1', 'plan', adapting);
    await train('adapted-1', true, { adapted: { valBpbBefore: 0.7551, valBpb: 0.6693 } });
    const weights = await putBlob(store, Buffer.from('weights of the base'));
    for (const [stage, file] of [
      ['4', await putBlob(store, Buffer.from('weights of another'))],
      ['5', weights],
    ] as const) {
      await recordStage(store, 'import', digestOf(stage), importedModelSchema, {
        schemaVersion: 1,
        source: { name: 'smollm2', title: 'SmolLM2', license: 'Apache-2.0', files: {} },
        files: { 'model.safetensors': file },
        shape: recipe.model,
        chat: true,
      });
    }
    const early = await gather('adapted-1');
    expect(early.base).toBeNull();
    expect(early.missing).toContain(
      'Which weights smollm2 had is not stored before the model is registered.',
    );
    const base = {
      name: 'smollm2',
      title: 'SmolLM2 <b>',
      license: 'Apache-2.0',
      weights: weights.sha256,
    };
    const version = versionOf('adapted', digestOf('3'));
    const evaluations = { 'evaluate-base': evaluation };
    const lineage = { ...version.lineage, base };
    await registerModel(store, { ...version, lineage, evaluations }, now);

    const report = await gather('adapted-1');
    expect(report).toMatchObject({ base, parent: null, goal: 'adapt' });
    expect(report.phases[0]?.adapted).toEqual({ valBpbBefore: 0.7551, valBpb: 0.6693 });
    expect(report.stages.find(({ name }) => name === 'pretrain')?.inputs).toEqual(
      expect.arrayContaining([
        { what: 'import of SmolLM2 <b>', digest: digestOf('5') },
        { what: 'weights of SmolLM2 <b>', digest: weights.sha256 },
      ]),
    );
    expect(report.repeat.compare[0]?.digest).toBe(weights.sha256);
    expect(report.repeat.pipeline).toContain('startFrom: smollm2\n');
    expect(report.repeat.commands.join('\n')).toContain('# imports SmolLM2 <b> first');
    const page = renderReport(report);
    expect(page).toContain('held-out text 0.755 → 0.669 bits a byte');
    expect(page).toContain('11.4 %');
    expect(page).toContain('Adapting (LoRA)');
    expect(page).toContain('Loss at the end of adapting');
    expect(page).not.toContain('<h3>Pretraining</h3>');
    expect(page).toContain('>adapted</th>');
    expect(page).not.toContain('<b>');
  });

  test('a run without orders and parent has none of them', async () => {
    const report = await gather('policy-done');
    expect([report.parent, report.base, report.repeat.orders]).toEqual([null, null, []]);
    expect(report.phases[0]).toMatchObject({ learningRates: [], adapted: null });
    expect(renderReport(report)).not.toMatch(/adapt|LoRA|imports/);
    expect(report.repeat.pipeline).toContain('startFrom: scratch\n');
  });

  test('a run that took everything over names the run that trained it', async () => {
    await putRunRecord(s3.store, 'policy-again', 'spec', { pipeline, machine });
    await putRunRecord(s3.store, 'policy-again', 'plan', recipe);
    const report = await gather('policy-again');
    expect(report).toMatchObject({ state: 'unknown', model: { version: 1, reused: true } });
    expect(report.missing.join(' ')).toContain('which run policy-done made');
  });

  test('at most five samples a reason, cut, and none of them from the raw text', async () => {
    const { data } = await gather('policy-done');
    const drops = data!.dropped;
    expect(drops.map(({ reason, stage, count }) => [reason, stage, count])).toEqual([
      ['unknown_type', 'ingest', 1],
      ['too_short', 'preprocess', 7],
      ['duplicate_near', 'preprocess', 2],
    ]);
    expect(drops[1]?.samples).toHaveLength(5);
    for (const { text } of drops[1]!.samples) {
      expect(text).toMatch(/^call <PHONE> or mail <EMAIL> 字+…$/);
      expect([...text!]).toHaveLength(300);
    }
    expect(drops[2]?.samples).toEqual([
      { source: 'n2.txt', detail: 'kept instead: kept.txt', text: '幾乎相同' },
      { source: 'n1.txt', detail: digestOf('1'), text: null },
    ]);
    const page = renderReport(await gather('policy-done'));
    expect(page).toContain('幾乎相同');
    expect(page).not.toContain('chen@example.tw');
  });

  test('the mix of the sources and what tokens stand for are on the page', async () => {
    const report = await gather('policy-done');
    expect(report.data?.corpus?.mixture?.sources).toHaveLength(2);
    const page = renderReport(report)
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ');
    expect(page).toContain('An epoch reads 40 tokens');
    expect(page).toContain('laws weight 3, repeat 4 1 0 3.00 30 75.0 %');
    expect(page).toContain('mail weight 1 1 1 1.00 10 25.0 %');
    expect(page).toContain('Compared with the tokenizer of SmolLM2-135M-Instruct.');
    expect(page).toContain('zh-Hant 1 3.75 1.25 – 5.25 1.88 −50.0 %');
  });

  test('tokens a document are counted from the index of the shards', async () => {
    const { data } = await gather('policy-done');
    expect(data?.corpus?.tokensPerDocument).toMatchObject({ low: 10, high: 30, numDocuments: 2 });
    expect(data?.corpus?.tokensPerDocument?.bins).toEqual([
      { from: 8, to: 15, numDocuments: 1 },
      { from: 16, to: 31, numDocuments: 1 },
    ]);
  });

  test('an unknown run is answered with the nearest', async () => {
    await expect(gather('policy-doen')).rejects.toThrow(
      'run: found no "policy-doen". Did you mean policy-done?',
    );
    await expect(gather('../secrets')).rejects.toThrow('run: found no "../secrets"');
  });

  test('the pipeline in it is a pipeline file that resolves to itself', () => {
    const file = { file: 'pipeline.yaml', baseDir: import.meta.dirname };
    // Sources must exist where a file is read.
    const text = pipelineText({
      ...pipeline,
      data: { ...pipeline.data, sources: [{ ...pipeline.data.sources![0]!, path: '.' } as never] },
    });
    expect(pipelineText(parsePipeline(text, file))).toBe(text);
  });
});

/** An activity that answered, in the form of Temporal's history. */
function answered(name: string, result: unknown, id: number) {
  const data = Buffer.from(JSON.stringify(result));
  const metadata = { encoding: Buffer.from('json/plain') };
  return [
    { eventId: id, activityTaskScheduledEventAttributes: { activityType: { name } } },
    {
      eventId: id + 1,
      activityTaskCompletedEventAttributes: {
        scheduledEventId: id,
        result: { payloads: [{ metadata, data }] },
      },
    },
  ];
}

/** A Temporal that has one kept history and no worker to ask. */
function temporalWith(
  name: string,
  more: ReturnType<typeof answered> = [],
): { client: Client; run: string } {
  const file = path.join(import.meta.dirname, `../../histories/${name}.json`);
  const history = historyFromJSON(JSON.parse(readFileSync(file, 'utf8')));
  history.events!.push(...(more as unknown as NonNullable<typeof history.events>));
  const started = history.events![0]!.workflowExecutionStartedEventAttributes!;
  const input = JSON.parse(Buffer.from(started.input!.payloads![0]!.data!).toString());
  const handle = {
    async describe() {
      return {
        workflowId: `pipeline/${input.run}`,
        status: { name: 'COMPLETED' },
        startTime: new Date(0),
        closeTime: new Date(90_000),
        historyLength: history.events!.length,
        raw: {},
      };
    },
    query: async () => {
      throw Object.assign(new Error('14 UNAVAILABLE: no poller'), { code: 14 });
    },
    fetchHistory: async () => history,
    result: async () => null,
  };
  const client = {
    connection: { withDeadline: (_: number, work: () => unknown) => work() },
    workflow: {
      getHandle(id: string) {
        if (id === `pipeline/${input.run}`) return handle;
        throw new WorkflowNotFoundError('not found', id, undefined);
      },
      async *list() {
        yield { workflowId: `pipeline/${input.run}` };
      },
    },
  };
  return { client: client as unknown as Client, run: input.run };
}

describe('from a kept history of Temporal', () => {
  test('digests of every stage are read without a worker', async () => {
    const { client, run } = temporalWith('pipeline-finished');
    const report = await gather(run, client);
    expect(report.state).toBe('finished');
    expect(report.evaluations.length).toBeGreaterThan(0);
    expect(report.model?.version).toBeGreaterThan(0);
    const outputs = Object.fromEntries(
      report.stages.map(({ name, outputs: made }) => [name, made.map(({ what }) => what)]),
    );
    expect(outputs['ingest']).toEqual(['dataset']);
    expect(outputs['plan']).toEqual(['recipe']);
    expect(outputs['pretrain']).toEqual(['weights', 'ONNX', 'bundle']);
    expect(report.missing).toContain(
      'The control worker does not answer: times and notes of the stages are left out.',
    );
    expect(renderReport(report)).toContain(`Run ${run}`);
  });

  test('the import of a base model is told as it answered', async () => {
    const base = { name: './tiny', title: 'tiny', license: null, weights: digestOf('8') };
    const told = { ...base, stage: digestOf('5'), shape: recipe.model };
    const { client, run } = temporalWith('pipeline-finished', [
      ...answered('importBaseModel', told, 90_000),
      ...answered('writeRehearsal', digestOf('4'), 90_010),
    ]);
    const report = await gather(run, client);
    expect(report.base).toEqual(base);
    const digests = Object.fromEntries(
      report.stages
        .find(({ name }) => name === 'pretrain')!
        .inputs.map(({ what, digest }) => [what, digest]),
    );
    expect(digests).toMatchObject({
      'import of tiny': digestOf('5'),
      'weights of tiny': digestOf('8'),
      'text that it wrote and rehearses': digestOf('4'),
    });
    const page = renderReport(report);
    expect(page).toContain('tiny (licence not known here)');
    expect(page).toMatch(/must lie at <code>.\/tiny<\/code>/);
  });

  test('a name that is near one that only Temporal knows is answered with that one', async () => {
    const { client, run } = temporalWith('pipeline-finished');
    await expect(gather(`${run}x`, client)).rejects.toThrow(`Did you mean ${run}?`);
  });
});

describe('the curve', () => {
  test('events that an adopting generation stores again count once', () => {
    const lines = [step(1, 1), step(2, 2), step(1, 1), step(2, 2), step(3, 3)];
    expect(curveOf(lines, [], 2, []).points.map((point) => point.step)).toEqual([1, 2, 3]);
  });

  test('a note lies at the step that it names, else at the step of its time', () => {
    const notes = [
      {
        at: 2500,
        stage: 'pretrain' as const,
        text: 'the gpu worker was lost; generation 2 takes over',
      },
      {
        at: 9000,
        stage: 'pretrain' as const,
        text: 'the trainer went on and was adopted at step 1',
      },
    ];
    const { marks } = curveOf([step(1, 1), step(2, 2), step(3, 3)], [], 2, notes);
    expect(marks.map(({ step: at, kind }) => [at, kind])).toEqual([
      [2, 'lost'],
      [1, 'adopted'],
    ]);
    expect(kindOf('resumed from step 99, 3 steps lost')).toBe('resumed');
    expect(kindOf('loss 7.10 since step 3: taken back to step 2')).toBe('lost');
    expect(kindOf('gate failed: valBpb 2 is above 1')).toBe('other');
  });

  test('a long curve is thinned to means, and keeps its last step', () => {
    const points = Array.from({ length: 12_345 }, (_, index) => ({
      step: index + 1,
      loss: 1,
      learningRate: 1,
      tokensPerSecond: 1,
    }));
    const thinned = thin(points);
    expect(thinned).toHaveLength(400);
    expect(thinned.at(-1)).toEqual({ ...points.at(-1)!, lossLow: 1, lossHigh: 1 });
  });
});

describe('datasets', () => {
  test('are listed, and shown with who was trained on them', async () => {
    expect(await summariseDatasets(s3.store)).toEqual([
      {
        name: 'policy',
        versions: [1],
        numDocuments: 12,
        bytes: 900,
        numDropped: 1,
        licenses: ['internal'],
      },
    ]);
    const shown = await describeDataset(s3.store, 'policy');
    expect(shown.models).toEqual([{ name: 'policy', version: 1, run: 'policy-done' }]);
    expect(shown.dropped[0]?.samples[0]).toMatchObject({ source: 'x.pdf' });
    await addRunInputs(s3.store, 'policy-done', { corpus: corpusKey });
    const known = await describeDataset(s3.store, 'policy');
    expect(known.mixture).toEqual(corpus.mixture);
    expect(known.compression).toEqual(corpus.compression);
    await putRunRecord(s3.store, 'policy-done', 'inputs', { schemaVersion: 1 });
  });

  test('an unknown name is answered with the nearest, an unknown version with those there are', async () => {
    await expect(describeDataset(s3.store, 'polcy')).rejects.toThrow('Did you mean policy?');
    await expect(describeDataset(s3.store, 'policy@9')).rejects.toThrow(
      'no version 9, expected 1.',
    );
    await expect(describeDataset(s3.store, '../x')).rejects.toThrow(
      'expected a name such as policy',
    );
  });
});
