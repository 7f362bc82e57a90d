/** A training that goes on under other code than it began with: after an upgrade, or on a host with another checkout. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { createSweepActivities } from '../../activities/sweep.ts';
import { findTrainer } from '../../activities/trainer-process.ts';
import { modelManifestSchema } from '../../config/manifests.ts';
import { findStage } from '../../registry/stages.ts';
import { projectDir } from '../../infra/layout.ts';
import { until } from '../support/scripted-host.ts';
import {
  environment,
  fileStore,
  headOf,
  scriptedHost,
  type ScriptedHost,
} from '../support/scripted-training.ts';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

/** The files of the trainer, in a folder of their own, as another version of Temper has them. */
async function otherCheckout(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-code-'));
  opened.push({ close: async () => rm(folder, { recursive: true }) });
  await cp(path.join(projectDir, 'trainer'), path.join(folder, 'trainer'), {
    recursive: true,
    filter: (from) => !from.includes('__pycache__'),
  });
  await writeFile(path.join(folder, 'requirements.txt'), '');
  return folder;
}

/** Two hosts for one run, the second with another version of the trainer. */
async function twoHosts(
  store: ReturnType<typeof fileStore>,
  job: { run: string; changes?: { seed: number } },
): Promise<[ScriptedHost, ScriptedHost]> {
  const host = await scriptedHost(store, job);
  const upgraded = await scriptedHost(store, {
    ...job,
    host: 'two',
    projectDir: await otherCheckout(),
  });
  opened.push(host, upgraded);
  return [host, upgraded];
}

/** Trains until a checkpoint counts, and its trainer dies. */
async function killed(host: ScriptedHost, store: ReturnType<typeof fileStore>, run: string) {
  await host.script({ dieAt: 15, stepMs: 10 });
  const generation = await host.open();
  await expect(host.watch(generation, await host.prepare(generation))).rejects.toThrow('died');
  expect((await headOf(store, run)).chain.map(({ step }) => step)).toEqual([10]);
  return generation;
}

test('is told, noted with the step, and not taken for what the job names', async () => {
  const store = fileStore();
  const [run, changes] = ['upgraded', { seed: 51 }];
  const [host, upgraded] = await twoHosts(store, { run, changes });
  const { stage } = await killed(host, store, run);
  const generation = await upgraded.open({ stage });
  const start = await upgraded.prepare(generation);
  const step = start.resumedFrom!;
  expect(step).toBeGreaterThan(0);
  expect(start.note).toMatch(
    new RegExp(
      `^resumed from step ${step}, .*; from step ${step} on other code of the trainer \\(\\w{12}\\) trains on host two, so that it is not exact$`,
    ),
  );
  const codes = [{ step, code: expect.stringMatching(/^\w{64}$/) as string }];
  const model = await upgraded.watch(generation, start);
  expect(model).toMatchObject({ codes });
  expect(model.stage).not.toBe(stage);
  const kept = await findStage(store, 'pretrain', model.stage, modelManifestSchema);
  expect(kept).toMatchObject({ exact: false, codes });
  expect((await host.activities.findTrainedModel(generation.job)).model).toBeNull();
});

test('and back on the first host leaves what lies there of the code from before', async () => {
  const store = fileStore();
  const run = 'to-and-fro';
  const [host, other] = await twoHosts(store, { run });
  await host.script({ stepMs: 40 });
  const first = await host.open();
  await host.prepare(first);
  // The first host is lost; its trainer goes on unwatched.
  const second = await other.open({ stage: first.stage });
  expect((await other.prepare(second)).note).toMatch(/from step 0 on other code/);
  await until(async () => (await findTrainer(host.runDir)).length === 0);
  const third = await host.open();
  const start = await host.prepare(third);
  expect(start).toMatchObject({ adopted: false, resumedFrom: null });
  expect(start.note).toMatch(/from step 0 on the code that it began with trains on host one$/);
  const model = await host.watch(third, start, environment());
  expect(model.codes).toBeUndefined();
  expect(model.stage).toBe(first.stage);
});

test('whoever asks for the same job again, as a later rung does, goes on with what other code began', async () => {
  const store = fileStore();
  const [run, changes] = ['rungs', { seed: 53 }];
  const [host, upgraded] = await twoHosts(store, { run, changes });
  const { job, stage } = await killed(host, store, run);
  const { trial: _, recipe, ...shared } = job;
  const { phase, round } = job.trial;
  const recipes = [{ trial: 0, recipe }];
  const rung = { run, phase, round, rung: 0, step: 10, goOn: 1, job: shared, recipes };
  const outcome = { step: 10, trials: [], goesOn: [0] };
  await createSweepActivities(host.deps).recordRung({ rung, outcome });
  expect(await createSweepActivities(upgraded.deps).findRung(rung)).toEqual(outcome);
  const generation = await upgraded.open();
  expect(generation.stage).toBe(stage);
  expect((await upgraded.prepare(generation)).note).toMatch(/on other code of the trainer/);
  const later = { ...rung, rung: 1, step: 30 };
  await createSweepActivities(upgraded.deps).recordRung({ rung: later, outcome });
  expect(await createSweepActivities(host.deps).findRung(later)).toEqual(outcome);
  // Another run finds under the first name only what the first code has computed.
  const apart = { ...later, run: 'rungs-apart' };
  expect(await createSweepActivities(host.deps).findRung(apart)).toBeNull();
  const other = await scriptedHost(store, { run, host: 'three', changes: { seed: 54 } });
  opened.push(other);
  await expect(other.open()).rejects.toMatchObject({ name: 'NameTaken' });
});
