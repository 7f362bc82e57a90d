/** The ledger of trainings that were killed, adopted and forged: with the real registry, activities and order. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation } from '../../activities/training-job.ts';
import { countPhases } from '../../client/cli/ledger-module.ts';
import { gatherLedger, ledgerSchema, type Ledger } from '../../client/ledger/ledger.ts';
import { joinSteps, type TrialRecord } from '../../client/ledger/steps.ts';
import { ledgerLines } from '../../client/ledger/words.ts';
import { gatherReport, traceRun } from '../../client/report/gather.ts';
import { renderReport } from '../../client/report/render.ts';
import { corpusManifestSchema, headSchema } from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { batchesTrained } from '../../registry/rollbacks.ts';
import { putBlob } from '../../registry/blobs.ts';
import { readGenerations } from '../../registry/generations.ts';
import { updateRecord } from '../../registry/json.ts';
import { addRunInputs, putRunRecord } from '../../registry/runs.ts';
import { recordStage } from '../../registry/stages.ts';
import { corpusOf, digestOf } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { runCommand } from '../support/command.ts';
import { openGeneration, scriptedDeps, scriptTrainer } from '../support/scripted-host.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

const corpus = digestOf('4');
/** 41 documents of 24 tokens and their ends: 1,025 tokens, 31 or 32 windows of 32. */
const numDocuments = 41;
const phase = { ...recipe.pretrain, seed: 5, numSteps: 50, saveEverySteps: 10 };
const small = { ...phase, batchSize: 4, contextLength: 32 };
/** A source whose documents are read so often in an epoch. */
const sourceOf = (source: string, documents: number, times: number) => {
  const size = (number: number) => ({ numDocuments: number, numTokens: number * 25, bytes: 1 });
  return { source, whole: size(documents), used: size(documents), epoch: size(documents * times) };
};
let s3: TestS3;
let home: string;
let activities: ReturnType<typeof createTrainActivities>;
let trial: Generation['job']['trial'];
let runDir: string;

beforeAll(async () => {
  s3 = await startS3();
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-ledger-'));
  const documents = Array.from({ length: numDocuments }, (_, number) =>
    JSON.stringify({ first: number * 25, id: `d${number}`, num: 24, source: number % 2 }),
  );
  const index = await putBlob(s3.store, Buffer.from(`${documents.join('\n')}\n`));
  const tokens = await putBlob(s3.store, Buffer.alloc(2 * 25 * numDocuments));
  const blank = corpusOf('ledger');
  await recordStage(s3.store, 'preprocess', corpus, corpusManifestSchema, {
    ...blank,
    mixture: { sources: [sourceOf('laws', 7, 3), sourceOf('mail', 20, 1)] },
    tokenizer: tokens,
    heldOut: { ...blank.heldOut, documents: tokens, tokens, numTokens: 1025 },
    shards: [{ tokens, index, numDocuments, numTokens: 25 * numDocuments }],
  });
  activities = createTrainActivities(scriptedDeps({ store: s3.store, home, host: 'ledger' }));
});
afterAll(async () => {
  await s3?.stop();
  await rm(home, { recursive: true, force: true });
});
afterEach(async () => {
  await endTrainer(runDir, 0);
});

async function begin(run: string, script: object): Promise<void> {
  trial = { run, phase: 'pretrain', round: 0, trial: 0 };
  runDir = path.join(home, 'runs', run, 'pretrain-0-0');
  await scriptTrainer(home, script);
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'ledger',
    data: { sources: [{ path: './docs', license: 'internal' }] },
  });
  await putRunRecord(s3.store, run, 'spec', { pipeline, machine });
  await addRunInputs(s3.store, run, { corpus });
}

async function generation(env = new MockActivityEnvironment()): Promise<unknown> {
  const job: Generation['job'] = {
    trial,
    recipe: small,
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  const opened = await openGeneration(activities, job);
  const start = (await env.run(activities.prepareTrainer, opened)) as TrainerStart;
  return await env
    .run(activities.watchTrainer, { ...opened, start })
    .catch((error: Error) => error);
}

async function ledgerOf(run: string): Promise<Ledger> {
  const { store } = s3;
  const trace = await traceRun({ temporal: null, store, run });
  return ledgerSchema.parse(await gatherLedger({ store, run, trace, count: countPhases }));
}

describe('a training whose trainer was killed once and whose watcher once', () => {
  const run = 'ledger-1';
  let ledger: Ledger;
  beforeAll(async () => {
    await begin(run, { dieAt: 27 });
    await generation();
    await scriptTrainer(home, { stepMs: 100 });
    const env = new MockActivityEnvironment();
    const watching = generation(env);
    // Its events are stored with its first commit.
    const stored = async () =>
      (await readGenerations(s3.store, trial)).some(({ fence }) => fence === 2);
    while (!(await stored())) await sleep(50);
    env.cancel('WORKER_SHUTDOWN');
    await watching;
    await generation();
    ledger = await ledgerOf(run);
  }, 60_000);

  test('has no gap and no double, and says what was lost and who trained it again', () => {
    const [pretrain] = ledger.phases;
    expect(ledger).toMatchObject({ run, proven: true, missing: [] });
    expect(pretrain).toMatchObject({ finished: true, numGenerations: 3, batchSize: 4 });
    const { steps } = pretrain!;
    expect(steps).toMatchObject({ durable: 50, untold: 0, faults: [] });
    expect(steps.checkpoints).toEqual({ num: 4, agreeing: 4 });
    expect(steps.again).toEqual({ steps: 7, sameLoss: 7 });
    expect(steps.generations.map(({ generation: number, began }) => [number, began])).toEqual([
      [1, 'fresh'],
      [2, 'resumed'],
      [3, 'adopted'],
    ]);
    expect(steps.generations[0]).toMatchObject({
      from: 0,
      to: 27,
      checkpoints: [10, 20],
      lost: [{ first: 21, last: 27, againBy: 2 }],
    });
    expect(steps.generations.slice(1).flatMap(({ lost }) => lost)).toEqual([]);
  });

  test('counts every token of the corpus as often as 50 steps of 4 windows of 32 give it', () => {
    const { counted } = ledger.phases[0]!;
    expect(counted.size).toBe(1025);
    const total = Object.values(counted.seen).reduce((sum, amount) => sum + amount, 0);
    const trained = Object.entries(counted.seen).reduce(
      (sum, [n, amount]) => sum + Number(n) * amount,
      0,
    );
    expect([total, trained]).toEqual([1025, 50 * 4 * 32]);
    expect(counted.windowsAnEpoch).toBe(31);
    expect(counted.epochs.map(({ visited }) => visited)).toEqual([31, 31, 31, 31, 31, 31, 14]);
    expect(counted.documents).toMatchObject({ num: numDocuments, never: 0 });
  });

  test('says of each source of a mix how much of it was read, and how often', () => {
    const { sources, counted } = ledger.phases[0]!;
    expect(sources!.map(({ source }) => source)).toEqual(['laws', 'mail']);
    const foretold = Object.entries(counted.seen).reduce(
      (sum, [times, tokens]) => sum + Number(times) * tokens,
      0,
    );
    expect(sources!.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(foretold);
    expect(sources!.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
    // 21 of the 41 documents of an epoch are readings of 7 documents.
    const [laws, mail] = sources!;
    expect(laws!.share).toBeCloseTo(21 / 41, 1);
    expect(laws!.times / mail!.times).toBeCloseTo(3, 0);
    expect(ledgerLines(ledger.phases[0]!)).toContainEqual([
      'source',
      'laws: 3,195 tokens, 49.9 % of what was read, each 18.26 times',
    ]);
  });

  test('is told in words, and on the report page', async () => {
    const lines = ledgerLines(ledger.phases[0]!).map((line) => line.join(': '));
    expect(lines).toContain('lost: generation 1: steps 21 to 27, trained again by generation 2');
    expect(lines).toContain('again: 7 steps told twice, 7 with the same loss to the last bit');
    expect(lines.join('\n')).toContain('200, 31 an epoch: 6 whole epochs and 45.2 % of another');
    const request = { temporal: null, store: s3.store, run, now: new Date(), code: null };
    const report = await gatherReport({ ...request, count: countPhases });
    expect(report.ledger).toEqual(ledger);
    const page = renderReport(report);
    expect(page).toContain('What it was trained on, and how often');
    expect(page).toContain('trained again by generation 2');
    expect((await gatherReport(request)).ledger).toBeNull();
    const broken = await gatherReport({
      ...request,
      count: () => Promise.reject(new Error('no Python here')),
    });
    expect(broken.missing).toContain('No token ledger: no Python here');
  });

  test(
    'is printed by the command, which ends with 0; an unknown run ends with 2',
    { timeout: 90_000 },
    async () => {
      const temper = (...args: string[]) => runCommand(s3, args);
      const printed = await temper('ledger', run);
      expect(printed.stdout).toContain('50 of 50 steps of 4 × 32, seed 5, 3 generations');
      expect(printed.stdout).toContain(`no gaps and no doubles in run ${run}`);
      expect(printed.exitCode).toBe(0);
      const { stdout } = await temper('ledger', run, '--json');
      expect(ledgerSchema.parse(JSON.parse(stdout))).toEqual(ledger);
      const unknown = await temper('ledger', 'ledger-2');
      expect([unknown.exitCode, unknown.stderr]).toEqual([2, expect.stringContaining('ledger-1?')]);
    },
  );

  test('is not proven once a checkpoint stands elsewhere than its step says', async () => {
    const key = `runs/${run}/pretrain/0/0/head.json`;
    const forge = (shift: number) =>
      updateRecord(s3.store, key, headSchema, (head) => ({
        ...head!,
        chain: head!.chain.map((entry) => ({ ...entry, step: entry.step + shift })),
      }));
    await forge(1);
    const forged = await ledgerOf(run);
    await forge(-1);
    expect(forged.proven).toBe(false);
    expect(forged.phases[0]!.steps.checkpoints).toEqual({ num: 4, agreeing: 0 });
    expect(forged.phases[0]!.steps.faults).toEqual(
      expect.arrayContaining([
        'the checkpoint of step 11 says that it is of step 10',
        'the checkpoint of step 11 stands at cursor 40, expected 44',
        'generation 2 went on from step 20, which no committed checkpoint holds',
      ]),
    );
  });
});

describe('what all generations told', () => {
  const blob = { sha256: digestOf('a'), bytes: 1 };
  const step = (number: number, loss = 5 / number) => ({
    event: 'step' as const,
    step: number,
    loss,
    lr: 1,
    grad_norm: 1,
    tokens_per_second: 1,
    num_tokens: number * 8,
    at: number,
  });
  const start = (at: number, number = 0) => ({
    event: 'start' as const,
    step: number,
    resumedFrom: null,
    at,
  });
  const steps = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, index) => step(first + index));
  const record = (change: Partial<TrialRecord>): TrialRecord => ({
    batchSize: 2,
    tokensAStep: 8,
    chain: [10, 20].map((at, index) => ({ step: at, fence: index + 1, manifest: blob })),
    rollbacks: [],
    places: [10, 20].map((at) => ({ step: at, cursor: at * 2, numTokens: at * 8 })),
    generations: [],
    finishedAt: 30,
    ...change,
  });

  test('a return to before a bad loss stands further on in the data, by the batches that it skipped', () => {
    const rollbacks = [{ step: 10, skippedTo: 14, scale: 0.5 }];
    const places = [
      { step: 10, cursor: 20, numTokens: 80 },
      { step: 20, cursor: 48, numTokens: 160 },
    ];
    expect(joinSteps(record({ rollbacks, places })).faults).toEqual([]);
    expect(joinSteps(record({ rollbacks })).faults).toEqual([
      'the checkpoint of step 20 stands at cursor 40, expected 48',
    ]);
    expect(batchesTrained(rollbacks, 30)).toEqual([
      { first: 0, end: 10 },
      { first: 14, end: 34 },
    ]);
    expect(batchesTrained([], 30)).toEqual([{ first: 0, end: 30 }]);
  });

  test('fewer hosts may go on from before the commits of all of them, which are cut, and are held to that step', () => {
    const generations = [
      { fence: 1, events: [start(1), ...steps(1, 22)] },
      { fence: 2, events: [start(2, 20), ...steps(21, 24)] },
      { fence: 3, events: [start(3, 10), ...steps(11, 30)] },
    ];
    const chain = [{ step: 10, fence: 1, manifest: blob }];
    const cut = record({ generations, chain, places: [{ step: 10, cursor: 20, numTokens: 80 }] });
    const joined = joinSteps({ ...cut, worlds: [{ step: 10, numHosts: 1 }] });
    expect(joined).toMatchObject({ durable: 30, untold: 0, faults: [] });
    const fault = 'generation 2 went on from step 20, which no committed checkpoint holds';
    expect(joinSteps(cut).faults).toEqual([fault]);
    expect(joinSteps({ ...cut, worlds: [{ step: 5, numHosts: 1 }] }).faults).toEqual([fault]);
  });

  test('steps whose events were lost with their host are those of the checkpoint behind them', () => {
    const joined = joinSteps(
      record({
        generations: [
          { fence: 1, events: [start(1), ...steps(1, 12)] },
          { fence: 2, events: [start(2, 20), ...steps(21, 30)] },
        ],
      }),
    );
    expect(joined).toMatchObject({ durable: 30, untold: 8, faults: [], again: { steps: 0 } });
    expect(joined.generations[0]!.lost).toEqual([]);
  });

  test('a trainer that made the model of an earlier checkpoint, when the budget was spent, takes no step back', () => {
    const generations = [
      { fence: 1, events: [start(1), ...steps(1, 20)] },
      { fence: 2, events: [start(2, 10)] },
      { fence: 3, events: [start(3, 20), ...steps(21, 30)] },
    ];
    const ended = joinSteps(record({ generations, endedAt: [10] }));
    expect(ended).toMatchObject({ durable: 30, untold: 0, again: { steps: 0 }, faults: [] });
    expect(ended.generations.flatMap(({ lost }) => lost)).toEqual([]);
    expect(joinSteps(record({ generations })).untold).toBe(10);
  });

  test('a fall back to an older checkpoint loses the steps of two generations', () => {
    const joined = joinSteps(
      record({
        generations: [
          { fence: 1, events: [start(1), ...steps(1, 23)] },
          { fence: 2, events: [start(2, 20), ...steps(21, 25)] },
          { fence: 3, events: [start(3, 10), ...steps(11, 30)] },
        ],
      }),
    );
    expect(joined.generations.map(({ lost }) => lost)).toEqual([
      [
        { first: 21, last: 23, againBy: 2 },
        { first: 11, last: 20, againBy: 3 },
      ],
      [{ first: 21, last: 25, againBy: 3 }],
      [],
    ]);
    expect(joined).toMatchObject({ faults: [], untold: 0, again: { steps: 15, sameLoss: 15 } });
  });

  test('steps beyond the newest checkpoint of a phase that goes on do not count yet', () => {
    const generations = [{ fence: 1, events: [start(1), ...steps(1, 27)] }];
    const joined = joinSteps(record({ finishedAt: null, generations }));
    expect(joined).toMatchObject({ durable: 20, untold: 0, faults: [] });
    expect(joined.generations[0]).toMatchObject({ to: 27, lost: [] });
  });

  test.each([
    [
      'a silent step 0',
      [start(2), ...steps(1, 30)],
      /generation 2 began at step 0, though step 10/,
    ],
    ['a start from no commit', [start(2, 15), ...steps(16, 30)], /went on from step 15, which no/],
    [
      'a count of tokens that skips some',
      [start(2, 20), { ...step(21), num_tokens: 21 * 8 + 1 }],
      /generation 2 tells 169 tokens at step 21, expected 168/,
    ],
  ])('%s is a fault', (_, events, fault) => {
    const first = { fence: 1, events: [start(1), ...steps(1, 20)] };
    const later = events.map((event) => ({ ...event, at: event.at + 100 }));
    const generations = [first, { fence: 2, events: later }];
    expect(joinSteps(record({ generations })).faults).toEqual([expect.stringMatching(fault)]);
  });

  test('a trainer that was adopted before anything of it was stored made the commits between', () => {
    const whole = [start(1), ...steps(1, 30)];
    const alone = joinSteps(record({ generations: [{ fence: 3, events: whole }] }));
    expect(alone).toMatchObject({ faults: [], untold: 0 });
    // Of generation 1 the piece with its start is lost.
    const generations = [
      { fence: 1, events: steps(1, 12) },
      { fence: 2, events: whole },
    ];
    expect(joinSteps(record({ generations })).faults).toEqual([]);
  });

  test('a step that was trained again to another loss is told', () => {
    const generations = [
      { fence: 1, events: [start(1), ...steps(1, 22)] },
      { fence: 2, events: [start(2, 20), step(21), step(22, 9)] },
    ];
    expect(joinSteps(record({ generations })).again).toEqual({ steps: 2, sameLoss: 1 });
  });
});
