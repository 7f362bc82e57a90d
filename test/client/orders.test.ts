/** What people tell a run, through the client and the command, to the real workflow with activities that take no time. */
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRunControlActivities } from '../../activities/run-control.ts';
import { renderStatus } from '../../client/cli/render-status.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import type { LiveStatus } from '../../client/live-status.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { putBlob } from '../../registry/blobs.ts';
import { readCost } from '../../registry/costs.ts';
import { registerModel } from '../../registry/models.ts';
import { readRunControl } from '../../registry/run-control.ts';
import { putRunRecord } from '../../registry/runs.ts';
import {
  checkpointState,
  commitCheckpoint,
  commitEnding,
  openGeneration,
} from '../../registry/training.ts';
import { runCommand } from '../support/command.ts';
import { digestOf, versionOf } from '../support/records.ts';
import { pipelineActivities, type PipelineWorld } from '../support/pipeline-activities.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { describeTraining } from '../../workflows/describe.ts';
import { bundleWorkflows } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
let server: TestWorkflowEnvironment;
let s3: TestS3;
let temper: TemperClient;
let world: PipelineWorld;
let workers: Worker[];
let working: Promise<unknown>;

beforeAll(async () => {
  // It makes the workers quiet, which only the first may do.
  const workflowBundle = await bundleWorkflows();
  const attributes = ['run', 'model', 'dataset', 'stage'];
  const [started, store] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      },
    }),
    startS3(),
  ]);
  [server, s3] = [started, store];
  const fakes = pipelineActivities();
  world = fakes.world;
  const { nativeConnection: connection } = server;
  workers = await Promise.all(
    ['control', 'data', 'gpu'].map((taskQueue) =>
      Worker.create({
        connection,
        taskQueue,
        activities: {
          ...fakes.activities,
          ...createRunControlActivities({ store: s3.store, now: () => new Date() }),
        },
        ...(taskQueue === 'control' && { workflowBundle }),
      }),
    ),
  );
  working = Promise.all(workers.map((worker) => worker.run()));
  temper = await connectTemper({ address: server.address, namespace: 'default', store: s3.store });
}, 60_000);
afterAll(async () => {
  await temper?.close();
  for (const worker of workers ?? []) worker.shutdown();
  await working;
  await Promise.all([server?.teardown(), s3?.stop()]);
});
beforeEach(() => {
  world.gates = {};
  world.deployed = [];
  world.registered = [];
  delete world.recipe;
});

function pipelineOf(name: string, deploy: object) {
  const pipeline = pipelineSchema.parse({
    version: 1,
    name,
    data: { sources: [{ path: '.', license: 'x' }] },
    deploy: { endpoint: name, ...deploy },
  });
  return { pipeline, baseDir: projectDir };
}

async function start(run: string, deploy: object = { approval: 'required' }): Promise<void> {
  const name = run.replace(/-[^-]*$/, '');
  await temper.startPipeline({ pipeline: pipelineOf(name, deploy), machine, run });
}

/** Follows a run until it looks as wanted. */
async function seen(run: string, wanted: (status: LiveStatus) => boolean): Promise<LiveStatus> {
  for await (const status of temper.followStatus(run, { everyMs: 50 })) {
    if (wanted(status)) return status;
  }
  throw new Error(`run ${run} ended without looking as wanted`);
}

function command(...args: string[]) {
  return runCommand(s3, args, { temporal: server.address });
}

const ann = { by: 'ann', why: 'reviewed' };
const waits = (status: LiveStatus) => status.approval?.approved === null;
const linesOf = (status: LiveStatus) =>
  renderStatus(status, { columns: 100, colour: false, now: Date.now() });

describe('approval', () => {
  test('the version is registered, waits with the command that approves it, and is deployed with who and why', async () => {
    await start('policy-aaaa');
    const status = await seen('policy-aaaa', waits);
    const line = linesOf(status).find((text) => text.startsWith('‖'));
    expect(line).toMatch(/^‖ deploy {9}waits for approval: npx temper approve policy@2 +0:0\d$/);
    expect(world.registered).toEqual([{ run: 'policy-aaaa', name: 'policy' }]);
    expect(world.deployed).toEqual([]);
    const details = await server.client.workflow
      .getHandle('pipeline/policy-aaaa')
      .query<{ currentDetails?: string }>('__temporal_workflow_metadata');
    expect(details.currentDetails).toContain('waits for approval: npx temper approve policy@2');

    await expect
      .poll(() => temper.approve('policy@2', ann).catch((error: Error) => error.message))
      .toMatchObject({ run: 'policy-aaaa', approved: ann });
    expect((await temper.resultOf('policy-aaaa')).model.version).toBe(2);
    expect(world.deployed).toEqual([
      {
        model: 'policy',
        version: 2,
        by: 'ann',
        reason: 'reviewed (run policy-aaaa passed its gates)',
      },
    ]);
    const { notes } = await temper.getStatus('policy-aaaa');
    expect(notes.at(-1)?.text).toBe('policy@2 was approved by ann: reviewed');
  });

  test('approving twice is refused, by the run that still goes and by the one that has ended', async () => {
    await registerModel(s3.store, versionOf('policy', digestOf('1')), new Date(0));
    await expect(temper.approve('policy-aaaa', ann)).rejects.toMatchObject({
      kind: 'input',
      message: 'policy@2 was approved already, by ann, and run policy-aaaa has ended (finished).',
    });
    await expect(temper.approve('policy@2', ann)).rejects.toMatchObject({
      kind: 'input',
      message:
        'policy: found no version 2, expected 1. Name one of them; npx temper models list shows what is served.',
    });
  });

  test('a run that waits for nothing, and one that there is not, are each one sentence and exit code 2', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.plan = gate.promise;
    await start('policy-bbbb', {});
    await seen('policy-bbbb', ({ stages }) =>
      stages.some(({ name, state }) => name === 'plan' && state === 'running'),
    );
    const nothing = await command('approve', 'policy-bbbb');
    expect([nothing.exitCode, nothing.stderr]).toEqual([
      2,
      'run policy-bbbb waits for no approval: it is at plan. A pipeline file asks for one with deploy.approval: required.',
    ]);
    const unknown = await command('approve', 'policy-bbbc');
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      2,
      'run: found no "policy-bbbc". Did you mean policy-bbbb?',
    ]);
    gate.resolve();
    await temper.resultOf('policy-bbbb');
    expect(world.deployed).toMatchObject([{ by: 'run policy-bbbb' }]);
  });

  test('a run that is cancelled while it waits ends; its version stays registered and is not served', async () => {
    await start('policy-cccc');
    await seen('policy-cccc', waits);
    await temper.cancel('policy-cccc', 'no');
    const status = await seen('policy-cccc', ({ state }) => state !== 'running');
    expect(status.state).toBe('cancelled');
    expect(linesOf(status).join('\n')).not.toContain('‖');
    expect(status.stages.at(-1)).toMatchObject({
      state: 'failed',
      summary: 'policy@2 stays registered, and is not served',
    });
    expect(world.registered).toHaveLength(1);
    expect(world.deployed).toEqual([]);
    await expect(temper.approve('policy-cccc', ann)).rejects.toMatchObject({
      kind: 'input',
      message:
        'policy@2 waits no more: run policy-cccc has ended (cancelled). npx temper models promote policy@2 serves it.',
    });
  });

  test('the command approves, and says who runs and what follows', async () => {
    await start('policy-dddd');
    await seen('policy-dddd', waits);
    const { exitCode, stdout } = await command('approve', 'policy-dddd', '--why', '很好', '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      model: 'policy',
      version: 2,
      approved: { why: '很好' },
    });
    await temper.resultOf('policy-dddd');
    expect(world.deployed[0]?.reason).toMatch(/^很好 /);
  });
});

const stageOf = (status: LiveStatus, name: string) =>
  status.stages.find((stage) => stage.name === name)?.state;

describe('a pause', () => {
  test('lets the stage at work end, starts no other, is recorded for the watchers, and is taken back', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.plan = gate.promise;
    await start('still-aaaa', {});
    await seen('still-aaaa', (status) => stageOf(status, 'plan') === 'running');
    await temper.pause('still-aaaa', ann);
    await expect(temper.pause('still-aaaa', { by: 'bob', why: null })).rejects.toMatchObject({
      kind: 'input',
      message:
        'run still-aaaa was paused already, by ann: reviewed. npx temper unpause still-aaaa lets it go on.',
    });
    await expect
      .poll(() => readRunControl(s3.store, 'still-aaaa'))
      .toMatchObject({ revision: 1, paused: ann, learningRates: [] });
    gate.resolve();
    const status = await seen('still-aaaa', (found) => stageOf(found, 'plan') === 'done');
    const line = linesOf(status).find((text) => text.startsWith('‖'));
    expect(line).toMatch(
      /^‖ paused by ann since \d{4}-\d\d-\d\d \d\d:\d\d UTC \(reviewed\): npx temper unpause still-aaaa$/,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(stageOf(await temper.getStatus('still-aaaa'), 'pretrain')).toBe('waiting');

    const { exitCode, stdout } = await command('unpause', 'still-aaaa');
    expect([exitCode, stdout.split('\n')[0]]).toEqual([0, 'run still-aaaa goes on.']);
    await temper.resultOf('still-aaaa');
    expect((await readRunControl(s3.store, 'still-aaaa'))?.paused).toBeNull();
    const { notes } = await temper.getStatus('still-aaaa');
    expect(notes.map(({ text }) => text)).toEqual([
      'paused by ann: reviewed',
      expect.stringMatching(/^unpaused by /),
    ]);
    const again = await command('unpause', 'still-aaaa');
    expect([again.exitCode, again.stderr]).toEqual([
      2,
      'run still-aaaa has ended (finished): nothing is left to unpause.',
    ]);
  });

  test('that is over wakes the training at work, which obeys this execution of the run alone', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.train = gate.promise;
    await start('still-wake', {});
    await seen('still-wake', (status) => stageOf(status, 'pretrain') === 'running');
    const training = server.client.workflow.getHandle('training/still-wake/pretrain/0');
    const eventsOf = async () => (await training.fetchHistory()).events ?? [];
    const signals = async () =>
      (await eventsOf()).flatMap(
        ({ workflowExecutionSignaledEventAttributes: signal }) => signal?.signalName ?? [],
      );
    await temper.pause('still-wake', ann);
    await expect.poll(() => readRunControl(s3.store, 'still-wake')).toMatchObject({ paused: ann });
    expect(await signals()).toEqual([]);
    await temper.unpause('still-wake', ann);
    await expect.poll(signals).toEqual(['unpaused']);

    const { runId } = await server.client.workflow.getHandle('pipeline/still-wake').describe();
    expect(await readRunControl(s3.store, 'still-wake', runId)).toMatchObject({ revision: 2 });
    const [started] = await eventsOf();
    const [input] = started?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
    expect(JSON.parse(Buffer.from(input!.data!).toString())).toMatchObject({ execution: runId });
    gate.resolve();
    await temper.resultOf('still-wake');
  });

  test('a run that is not paused cannot go on, and a paused one deploys nothing even if it is approved', async () => {
    await start('still-bbbb');
    await seen('still-bbbb', waits);
    await expect(temper.unpause('still-bbbb', ann)).rejects.toMatchObject({
      kind: 'input',
      message: 'run still-bbbb is not paused.',
    });
    await temper.pause('still-bbbb', ann);
    await temper.approve('still-bbbb', ann);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(world.deployed).toEqual([]);
    await temper.unpause('still-bbbb', ann);
    await temper.resultOf('still-bbbb');
    expect(world.deployed).toHaveLength(1);
  });

  test('a paused run can be cancelled', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.plan = gate.promise;
    await start('still-cccc', {});
    await seen('still-cccc', (status) => stageOf(status, 'plan') === 'running');
    await temper.pause('still-cccc', ann);
    gate.resolve();
    await seen('still-cccc', (status) => stageOf(status, 'plan') === 'done');
    await temper.cancel('still-cccc', 'no');
    expect((await seen('still-cccc', ({ state }) => state !== 'running')).state).toBe('cancelled');
  });
});

describe('a learning rate', () => {
  test('is changed for the training at work, as a factor or as a peak, and recorded with who and why', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.train = gate.promise;
    await start('rate-aaaa', {});
    await seen('rate-aaaa', (status) => stageOf(status, 'pretrain') === 'running');
    const { exitCode, stdout } = await command('set', 'rate-aaaa', 'lr=0.5x', '--why', 'it jumps');
    expect([exitCode, stdout.split('\n')[0]]).toEqual([
      0,
      'run rate-aaaa: pretrain goes on at 0.5 times the planned rate within seconds;',
    ]);
    const rate = recipe.pretrain.learningRate * 2;
    expect(await temper.setLearningRate('rate-aaaa', { ...ann, rate })).toEqual({
      order: 2,
      phase: 'pretrain',
      round: 0,
      scale: 2,
      by: 'ann',
    });
    await expect
      .poll(() => readRunControl(s3.store, 'rate-aaaa'))
      .toMatchObject({
        revision: 2,
        paused: null,
        learningRates: [
          { order: 1, phase: 'pretrain', round: 0, scale: 0.5, why: 'it jumps' },
          { order: 2, scale: 2, by: 'ann', why: 'reviewed' },
        ],
      });
    await expect(temper.setLearningRate('rate-aaaa', { ...ann, factor: 0 })).rejects.toMatchObject({
      kind: 'input',
      message: `lr: found 0x, expected 0.0001x to 100x of the planned ${recipe.pretrain.learningRate}.`,
    });
    gate.resolve();
    await temper.resultOf('rate-aaaa');
    const { notes } = await temper.getStatus('rate-aaaa');
    expect(notes.at(-1)?.text).toBe(
      'learning rate ×2 of ann came too late: pretrain had ended, its rate was as planned',
    );
  });

  test('is refused where nothing trains, and where it is none', async () => {
    await start('rate-bbbb');
    await seen('rate-bbbb', waits);
    const nothing = await command('set', 'rate-bbbb', 'lr=0.5x');
    expect([nothing.exitCode, nothing.stderr]).toEqual([
      2,
      'run rate-bbbb trains nothing now: it is at deploy, which has no learning rate.',
    ]);
    const none = await command('set', 'rate-bbbb', 'lr=half');
    expect([none.exitCode, none.stderr]).toEqual([
      2,
      'set: found "lr=half", expected lr=0.5x (half of the planned rate) or lr=3e-4 (the peak itself).',
    ]);
    await temper.cancel('rate-bbbb', 'done');
  });

  test('that was obeyed stands on the line of its stage', () => {
    const model = {
      phase: 'pretrain' as const,
      stage: '',
      weights: '',
      numSteps: 2400,
      numTokens: 1,
      finalLoss: 3.912,
      reused: false,
      learningRates: [{ order: 1, step: 812, scale: 0.5 }],
    };
    expect(describeTraining(model)).toBe('2400 steps, loss 3.91, rate ×0.5 from step 812');
    const rollbacks = [{ step: 900, skippedTo: 943, scale: 0.5 }];
    expect(describeTraining({ ...model, rollbacks, plateau: 2200 })).toBe(
      '2400 steps, loss 3.91, ended early on a plateau, rate ×0.5 from step 812, taken back to step 900 (×0.5)',
    );
    const adapted = { valBpbBefore: 0.7551, valBpb: 0.6693 };
    expect(describeTraining({ ...model, learningRates: [], adapted })).toBe(
      '2400 steps, loss 3.91, held-out text 0.755 → 0.669 bits a byte',
    );
  });
});

describe('a budget', () => {
  const held = {
    timeMs: 600_000,
    usd: null,
    usdPerHour: 3.6,
    whenSpent: 'finish' as const,
    shares: { pretrain: 1, sft: 1, dpo: 1 },
  };
  const own = { ...recipe, sft: null, dpo: null };

  test('that is held is added to by one who says who and why, for the watchers and the status; the same for dollars', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.train = gate.promise;
    world.recipe = { ...own, held };
    await start('spend-aaaa', {});
    await seen('spend-aaaa', (status) => stageOf(status, 'pretrain') === 'running');
    expect(await temper.addBudget('spend-aaaa', { ...ann, timeMs: 60_000 })).toEqual({
      run: 'spend-aaaa',
      spentMs: 0,
      limitMs: 660_000,
      continued: false,
    });
    const { exitCode, stdout } = await command('budget', 'add', 'spend-aaaa', '--usd', '1.8');
    expect([exitCode, stdout.split('\n')[0]]).toEqual([
      0,
      'run spend-aaaa may spend 41m of machine time now.',
    ]);
    const told = await command('budget', 'add', 'spend-aaaa', '90s', '--json');
    expect(JSON.parse(told.stdout)).toMatchObject({ limitMs: 2_550_000, continued: false });
    const { added } = await readCost(s3.store, 'spend-aaaa');
    expect(added).toMatchObject([{ ...ann, timeMs: 60_000 }, { usd: 1.8 }, { timeMs: 90_000 }]);
    await expect(temper.addBudget('spend-aaaa', ann)).rejects.toMatchObject({
      kind: 'input',
      message: 'budget: found nothing to add, expected a time, dollars or both.',
    });
    gate.resolve();
    await temper.resultOf('spend-aaaa');
    const { notes } = await temper.getStatus('spend-aaaa');
    expect(notes.map(({ text }) => text)).toContain('1 min added to the budget by ann: reviewed');
  });

  test('that is only planned for cannot be added to, and the sentence says what would hold it', async () => {
    const gate = Promise.withResolvers<void>();
    world.gates.train = gate.promise;
    await start('spend-bbbb', {});
    await seen('spend-bbbb', (status) => stageOf(status, 'pretrain') === 'running');
    const refused = await command('budget', 'add', 'spend-bbbb', '30m');
    expect([refused.exitCode, refused.stderr]).toEqual([
      2,
      'run spend-bbbb plans for its budget and is not ended by it: it goes on to its last planned step. budget.whenSpent: finish or wait, or dollars, hold one.',
    ]);
    gate.resolve();
    await temper.resultOf('spend-bbbb');
  });

  test('that had ended the training of a run which has finished lets that run go on, under its name', async () => {
    const run = 'spend-cccc';
    world.recipe = { ...own, held };
    await start(run, {});
    await temper.resultOf(run);
    await putRunRecord(s3.store, run, 'plan', world.recipe);
    const again = () => temper.addBudget(run, { ...ann, timeMs: 1_800_000 });
    await expect(again()).rejects.toThrow('S3 does not remember what it was asked');
    const { pipeline } = pipelineOf('spend', {});
    await putRunRecord(s3.store, run, 'spec', { pipeline, machine, baseDir: projectDir });
    const stage = 'a'.repeat(64);
    const trial = { run, phase: 'pretrain', round: 0, trial: 0 };
    const head = await openGeneration(s3.store, trial, { stage, writer: 'w' });
    const writer = { fence: head.fence, writer: 'w' };
    const files = { weights: await putBlob(s3.store, Buffer.from('weights')) };
    const checkpoint = { schemaVersion: 1 as const, step: 40, fence: 1, files };
    await commitCheckpoint(s3.store, trial, writer, {
      ...checkpoint,
      state: checkpointState(files),
    });
    const at = new Date(0).toISOString();
    const reason = 'the newest: no held-out text was measured';
    const figures = { spentMs: 590_000, limitMs: 600_000 };
    const ending = { step: 40, newest: 40, reason, ...figures, at };
    await commitEnding(s3.store, trial, writer, ending);

    const gate = Promise.withResolvers<void>();
    world.gates.train = gate.promise;
    expect(await again()).toMatchObject({ run, limitMs: 2_400_000, continued: true });
    await seen(run, (status) => stageOf(status, 'pretrain') === 'running');
    expect((await readCost(s3.store, run)).added).toMatchObject([{ ...ann, timeMs: 1_800_000 }]);
    const { stdout } = await command('budget', run);
    expect(stdout).toContain(`run ${run}: 0s of 40m of machine time, $0.00 of $2.40; when it`);
    expect(stdout).toContain('  + 30m by ann: reviewed (');
    expect(stdout).toContain('  pretrain ended with the checkpoint of step 40, the newest: ');
    const told = JSON.parse((await command('budget', run, '--json')).stdout) as object;
    expect(told).toMatchObject({ limitMs: 2_400_000, endings: [{ phase: 'pretrain', step: 40 }] });
    gate.resolve();
    expect((await temper.resultOf(run)).model.version).toBe(2);
  });

  test('of a run that nobody knows is one sentence; so is a time that is none', async () => {
    const [unknown, wrong] = [
      await command('budget', 'spend-zzzz'),
      await command('budget', 'add', 'spend-aaaa', '30 minutes'),
    ];
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('run: found no "spend-zzzz"'),
    ]);
    expect([wrong.exitCode, wrong.stderr]).toEqual([
      2,
      'budget: found "30 minutes", expected a time such as 30m, 90s or 2h.',
    ]);
  });
});
