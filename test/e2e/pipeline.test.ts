/**
 * The product as a whole, on the real stack: text becomes a served model; a second run reuses it all;
 * cancelling, rolling back and killing do what they promise. The tests of a stack build on each other.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { LiveStatus } from '../../client/live-status.ts';
import { findTrainers } from '../../infra/trainers.ts';
import { readLeases } from '../../registry/leases.ts';
import { workflowId, type PipelineResult } from '../../workflows/messages.ts';
import { fetchHistory, largestPayload } from '../histories/history.ts';
import {
  processesOf,
  smallPipeline,
  startStack,
  tailOfLogs,
  writeCorpus,
  type TestStack,
} from '../support/stack.ts';
import { createKills, runningStage, trainerProgress } from './kills.ts';

// A run takes a minute on two quiet cores; a machine that does other work too may take several times as long.
const runLimitMs = 600_000;
const root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-'));
const pipeline = smallPipeline();
/** The same text for a smaller goal: another model under the same name. */
const baseOnly = smallPipeline({ goal: 'base', budget: { time: '25s' } });
/** Trains for much longer than a test lasts. */
const endless = smallPipeline({ goal: 'base', budget: { time: '30m' } });
let first: PipelineResult;

beforeAll(() => writeCorpus(path.join(root, 'corpus')));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const finished = (status: LiveStatus): PipelineResult => {
  expect(status.failure).toBeNull();
  expect(status.state).toBe('finished');
  return status.result!;
};

/** A stack of its own for the tests of one block; a failed test prints what its programs said. */
function useStack(name: string): { home: string; get: () => TestStack } {
  const home = path.join(root, name);
  let stack: TestStack;
  let isDown = false;
  beforeAll(async () => {
    stack = await startStack(home);
    const { down } = stack;
    stack.down = async () => {
      isDown = true;
      return down();
    };
  }, 180_000);
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') console.error(tailOfLogs(home));
  });
  afterAll(async () => {
    if (!isDown) await stack.down();
  }, 180_000);
  return { home, get: () => stack };
}

describe('a pipeline', () => {
  const { home, get } = useStack('first');
  const complete = async (): Promise<{ status: number; bundle: string; text: string }> => {
    const request = { model: 'whaler', prompt: 'The whale', max_tokens: 8, temperature: 0 };
    const response = await get().ask('/v1/completions', request);
    const answer = (await response.json()) as {
      system_fingerprint: string;
      choices: { text: string }[];
    };
    return {
      status: response.status,
      bundle: answer.system_fingerprint,
      text: answer.choices[0]!.text,
    };
  };
  let second: PipelineResult;

  test(
    'takes text to a model that answers over the OpenAI-compatible API, with the key only',
    { timeout: runLimitMs },
    async () => {
      const status = await get().run({ pipeline, folder: root, name: 'whaler-1' });
      first = finished(status);
      expect(first.model).toEqual({ name: 'whaler', version: 1, reused: false });
      expect(status.stages.map(({ state }) => state)).toEqual(Array<string>(10).fill('done'));
      expect(first.evaluations.at(-1)!.evaluation.metrics['questions.accuracy']?.count).toBe(36);

      const chat = {
        model: 'whaler',
        messages: [{ role: 'user', content: 'Who kept the log of 1801?' }],
        temperature: 0,
        max_tokens: 8,
      };
      const answer = await get().ask('/v1/chat/completions', chat);
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({
        system_fingerprint: first.digests.bundle,
        choices: [{ message: { role: 'assistant', content: expect.stringMatching(/\w/) } }],
      });
      expect((await get().ask('/v1/chat/completions', chat, null)).status).toBe(401);
      expect((await get().ask('/v1/models', undefined, 'temper-guess')).status).toBe(401);
    },
  );

  test(
    'run again reuses every stage within 20 s and registers nothing',
    { timeout: runLimitMs },
    async () => {
      const began = performance.now();
      const status = await get().run({ pipeline, folder: root, name: 'whaler-2' });
      const seconds = (performance.now() - began) / 1000;
      const again = finished(status);
      expect(again).toMatchObject({
        model: { version: 1, reused: true },
        digests: first.digests,
      });
      const made = status.stages.filter(({ state }) => state !== 'reused').map(({ name }) => name);
      expect(made).toEqual(['plan']);
      expect((await get().temper.models.list())[0]).toMatchObject({ versions: [1], champion: 1 });
      expect(seconds).toBeLessThan(20);
    },
  );

  test(
    'that is cancelled in training ends so, stops its trainer and gives the machine back',
    { timeout: runLimitMs },
    async () => {
      let asked = false;
      const status = await get().run({
        pipeline: endless,
        folder: root,
        name: 'whaler-3',
        see: async ({ training }) => {
          if (asked || (training?.step ?? 0) === 0) return;
          asked = true;
          expect(findTrainers(get().stack.layout).ranks).toHaveLength(1);
          await get().temper.cancel('whaler-3', 'a test');
        },
      });
      expect(status.state).toBe('cancelled');
      expect(findTrainers(get().stack.layout)).toEqual({ launchers: [], ranks: [] });
      const lease = (await readLeases(get().store, 'local')).hosts['local'];
      expect(Date.parse(lease!.expiresAt)).toBeLessThan(Date.now());
      expect((await get().temper.models.list())[0]!.versions).toEqual([1]);
    },
  );

  test(
    'trains after a cancelled one, and its version replaces the one that was served',
    { timeout: runLimitMs },
    async () => {
      second = finished(await get().run({ pipeline: baseOnly, folder: root, name: 'whaler-4' }));
      expect(second.model).toEqual({ name: 'whaler', version: 2, reused: false });
      expect(second.digests.bundle).not.toBe(first.digests.bundle);
      expect(second.digests.tokenizer).toBe(first.digests.tokenizer);
      expect((await complete()).bundle).toBe(second.digests.bundle);
    },
  );

  test('rolls back to the version before, and forward again', { timeout: 120_000 }, async () => {
    const move = { by: 'tester', reason: 'a test' };
    const newer = await complete();
    const back = await get().temper.models.rollback('whaler', move);
    expect(back).toMatchObject({ from: 2, to: 1, deployments: [{ endpoint: 'whaler' }] });
    const older = await complete();
    expect(older).toMatchObject({ status: 200, bundle: first.digests.bundle });
    await get().temper.models.rollback('whaler', { ...move, to: 2 });
    expect(await complete()).toEqual(newer);
    expect((await get().temper.models.list())[0]).toMatchObject({ versions: [1, 2], champion: 2 });
  });

  test('keeps its histories small: references, never data', { timeout: 60_000 }, async () => {
    const ids = [
      workflowId.pipeline('whaler-1'),
      workflowId.preprocess('whaler-1'),
      workflowId.training('whaler-1', 'pretrain', 0),
      workflowId.training('whaler-1', 'sft', 0),
      workflowId.training('whaler-1', 'dpo', 0),
      workflowId.deployment('whaler'),
    ];
    for (const id of ids) {
      const { json, bytes } = await fetchHistory(get().temporal, id);
      expect(json.events.length, id).toBeLessThanOrEqual(5000);
      expect(bytes, id).toBeLessThanOrEqual(5 * 2 ** 20);
      expect(largestPayload(json), id).toBeLessThanOrEqual(64 * 1024);
      // A check that looks at nothing would pass as well.
      expect(largestPayload(json), id).toBeGreaterThan(50);
    }
  });

  test('leaves nothing running once the stack is down', { timeout: 120_000 }, async () => {
    expect(processesOf(home).length).toBeGreaterThan(6);
    expect(await get().down()).toEqual([]);
  });
});

describe('a pipeline whose processes are killed', () => {
  const { home, get } = useStack('disturbed');

  test(
    'finishes by itself, in an empty bucket, with the same bytes',
    { timeout: runLimitMs },
    async () => {
      const run = 'whaler-1';
      const training = (status: LiveStatus) =>
        status.training?.phase === 'pretrain' ? status.training : null;
      const during = (stage: string) => (status: LiveStatus) => runningStage(status) === stage;
      const kills = createKills(home, [
        { kind: 'data', when: during('preprocess') },
        {
          kind: 'gpu',
          when: () => trainerProgress(home, run).step > 0,
          holdTrainerUntil: (status) => training(status)?.adopted === true,
        },
        {
          kind: 'rank',
          holdTrainerFrom: () => trainerProgress(home, run).checkpoint > 0,
          when: (status) => (training(status)?.durableStep ?? 0) > 0,
        },
        { kind: 'control', when: during('evaluate-base') },
        { kind: 'torchrun', when: during('fine-tune') },
        { kind: 's3', when: during('fine-tune') },
        { kind: 'temporal', when: during('evaluate-tuned') },
        { kind: 'serving', when: during('align') },
      ]);
      const status = await get().run({ pipeline, folder: root, name: run, see: kills.see });
      const result = finished(status);
      expect(kills.killed.map(({ kind, stage }) => `${kind} in ${stage}`)).toEqual([
        'data in preprocess',
        'gpu in pretrain',
        'rank in pretrain',
        'control in evaluate-base',
        'torchrun in fine-tune',
        's3 in fine-tune',
        'temporal in evaluate-tuned',
        'serving in align',
      ]);
      // The trainer of the killed worker went on to its next checkpoint under another one.
      const [, gpu, rank] = kills.killed;
      expect(gpu!.ranks.map(({ pid }) => pid)).toEqual([rank!.pid]);
      const notes = status.notes.map(({ text }) => text).join('\n');
      expect(notes).toMatch(/adopted at step \d+, 0 steps lost/);
      expect(notes).toMatch(/resumed from step [1-9]/);
      expect(result.digests).toEqual(first.digests);
      expect(result.model).toEqual({ name: 'whaler', version: 1, reused: false });
      expect((await get().ask('/v1/models')).status).toBe(200);
    },
  );

  test('leaves nothing running once the stack is down', { timeout: 120_000 }, async () => {
    expect(await get().down()).toEqual([]);
  });
});
