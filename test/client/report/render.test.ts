import { Parser } from 'htmlparser2';
import { expect, test } from 'vitest';
import { groupMarks, ranges, smooth, ticks } from '../../../client/report/charts.ts';
import { langOf } from '../../../client/report/html.ts';
import { renderComparison } from '../../../client/report/render-comparison.ts';
import { renderReport } from '../../../client/report/render.ts';
import { thin } from '../../../client/report/training.ts';
import { compareRuns } from '../../../client/compare-runs.ts';
import { duration, size } from '../../../client/report/words.ts';
import type { RunReport } from '../../../client/report/run-report.ts';
import { sampleReport } from './sample-report.ts';

/** Elements that end by themselves. */
const voids = new Set(['meta', 'br', 'line', 'rect', 'path', 'circle']);

/** Every element with its attributes, and the text of the page; throws when tags do not match. */
function read(page: string) {
  const elements: { name: string; attributes: Record<string, string> }[] = [];
  const open: string[] = [];
  let text = '';
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        elements.push({ name, attributes });
        open.push(name);
      },
      ontext(part) {
        if (open.at(-1) !== 'style') text += part;
      },
      onclosetag(name, implied) {
        if (implied && !voids.has(name)) throw new Error(`${name} is not closed`);
        expect(open.pop()).toBe(name);
      },
    },
    { lowerCaseTags: false },
  );
  parser.end(page);
  return { elements, text };
}

test('the page is whole HTML that loads nothing and runs nothing', () => {
  const { elements } = read(renderReport(sampleReport()));
  const names = new Set(elements.map(({ name }) => name));
  for (const name of ['script', 'link', 'img', 'iframe', 'object', 'form']) {
    expect(names).not.toContain(name);
  }
  for (const { attributes } of elements) {
    for (const [name, value] of Object.entries(attributes)) {
      expect(name).not.toMatch(/^on|^src/);
      if (name === 'href') expect(value).toMatch(/^#[a-z]+$/);
      expect(value).not.toMatch(/url\(|javascript:/);
    }
  }
  const page = renderReport(sampleReport());
  expect(page).not.toMatch(/url\(|@import/);
  expect(page).toContain('default-src &#39;none&#39;');
});

test('what stands in a document is text, whatever it says, and cannot turn the line around', () => {
  const page = renderReport(sampleReport());
  expect(page).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &lt;/style&gt;');
  expect(page).not.toContain('\u202E');
  const { text } = read(page);
  expect(text).toContain('./<img src=x onerror=alert(1)>.txt');
  expect(text).toContain('mail <EMAIL>');
});

test('Chinese stands in the page as itself, in its own language', () => {
  const { text, elements } = read(renderReport(sampleReport()));
  for (const words of ['./文件', '《民法》由誰主管？', '✓ 法務部', '重複的句子']) {
    expect(text).toContain(words);
  }
  expect(
    elements.filter(({ attributes }) => attributes['lang'] === 'zh-Hant').length,
  ).toBeGreaterThan(3);
  expect([langOf('這個'), langOf('这个'), langOf('これ'), langOf('이것'), langOf('this')]).toEqual([
    'zh-Hant',
    'zh-Hans',
    'ja',
    'ko',
    undefined,
  ]);
});

test('every chart has a title and words, and its numbers stand in a table', () => {
  const { elements, text } = read(renderReport(sampleReport()));
  const ids = new Set(elements.map(({ attributes }) => attributes['id']));
  const charts = elements.filter(({ name }) => name === 'svg');
  expect(charts.length).toBeGreaterThan(2);
  for (const { attributes } of charts) {
    if (attributes['aria-hidden'] === 'true') continue;
    expect(attributes['role']).toBe('img');
    for (const id of attributes['aria-labelledby']!.split(' ')) expect(ids).toContain(id);
  }
  expect(text).toContain('The loss went from 7.00 at step 1 to 3.04 at step 100, planned was 3.20');
  expect(text).toContain('The numbers of pretrain as a table');
  expect(text).toContain('1–2');
});

test('a budget that is held is told with what was added to it and where it ended a training', () => {
  const at = '2026-11-22T10:00:00.000Z';
  const ending = { phase: 'pretrain', round: 0, step: 40, newest: 50, fence: 2, at };
  const { text } = read(
    renderReport({
      ...sampleReport(),
      budget: {
        run: 'policy-7f3a',
        spentMs: 750_000,
        limitMs: 1_800_000,
        usdPerHour: 2.4,
        spentUsd: 0.5,
        limitUsd: 1.2,
        whenSpent: 'finish',
        numLeases: 2,
        added: [{ id: 'a/1', timeMs: 900_000, by: 'ann', why: null, at }],
        endings: [{ ...ending, reason: 'the newest', spentMs: 590_000, limitMs: 900_000 }],
      },
    }),
  );
  expect(text).toContain(
    'Spent: 12m 30s of 30m of machine time, $0.50 of $1.20; when it is spent: finish.',
  );
  expect(text).toContain('+ 15m by ann (2026-11-22 10:00 UTC)');
  expect(text).toContain('pretrain ended with the checkpoint of step 40, the newest (2026-11-22');
  expect(read(renderReport(sampleReport())).text).not.toContain('Spent:');
});

test('a gate that failed says by how much', () => {
  const { text } = read(renderReport(sampleReport()));
  expect(text).toMatch(/questions\.accuracy≥ 60\.0 %40\.0 %−20\.0 %failed/);
});

test('what a repeat needs beside the commands is named: orders with their steps, and the parent', () => {
  const again = (report: RunReport) => {
    const { text } = read(renderReport(report));
    return text.slice(text.lastIndexOf('Make it again')).replaceAll(/\s+/g, ' ');
  };
  const plain = again(sampleReport());
  expect(plain).toContain('every digest comes out the same.');
  expect(plain).not.toMatch(/orders|goes on from/);
  const { repeat } = sampleReport();
  const orders = [{ phase: 'sft', step: 812, scale: 0.5 }];
  const parent = { name: 'policy', version: 1 };
  const told = again(sampleReport({ parent, repeat: { ...repeat, orders } }));
  expect(told).toContain('every digest comes out the same, once it is given the same orders.');
  expect(told).toContain('It goes on from policy@1, which the registry of the repeat must hold');
  expect(told).toContain('learning rate of sft ×0.5 from step 812');
  expect(told).toContain('and the weights from sft on, the ONNX and the bundle do not');
});

test('a run that failed at once has a page that says why and what is not there', () => {
  const page = renderReport(
    sampleReport({
      state: 'failed',
      failure: 'data.sources: found no <b>readable</b> text',
      model: null,
      endpoint: null,
      plan: null,
      phases: [],
      evaluations: [],
      gates: [],
      data: null,
      notes: [],
      missing: ['No dataset: the run failed before it.'],
    }),
  );
  const { text, elements } = read(page);
  expect(text).toContain('data.sources: found no <b>readable</b> text');
  expect(text).toContain('No dataset: the run failed before it.');
  const sections = elements.filter(({ name }) => name === 'section');
  expect(sections.map(({ attributes }) => attributes['aria-labelledby'])).toEqual([
    'way',
    'stages',
    'again',
  ]);
});

test('a phase without a stored step has no chart and no invalid number', () => {
  const { phases } = sampleReport();
  const page = renderReport(
    sampleReport({ phases: [{ ...phases[0]!, points: [], marks: [], evaluations: [] }] }),
  );
  expect(page).toContain('No step is stored yet.');
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
});

test('one step, or a loss that never changes, still draws', () => {
  const { phases } = sampleReport();
  const phase = phases[0]!;
  for (const points of [phase.points.slice(0, 1), phase.points.map((p) => ({ ...p, loss: 0 }))]) {
    const page = renderReport(
      sampleReport({ phases: [{ ...phase, points, plannedLoss: null, numSteps: null }] }),
    );
    expect(page).not.toMatch(/NaN|Infinity|undefined/);
  }
});

test('ticks are round and cover the range; marks that are close share a place', () => {
  expect(ticks(3.1, 7.6, 5)).toEqual([4, 5, 6, 7]);
  expect(ticks(0, 492, 8)).toEqual([0, 100, 200, 300, 400]);
  expect(ticks(2, 2, 5)).toEqual([2]);
  const mark = (step: number, kind: 'lost' | 'adopted') => ({ step, kind, text: '', at: null });
  const groups = groupMarks(
    [mark(10, 'adopted'), mark(12, 'lost'), mark(90, 'adopted')],
    (x) => x * 10,
  );
  expect(groups.map(({ numbers, kind }) => [numbers, kind])).toEqual([
    [[1, 2], 'lost'],
    [[3], 'adopted'],
  ]);
  expect(ranges([1, 2, 3, 5, 7, 8])).toBe('1–3, 5, 7–8');
});

test('smoothing keeps the ends and lies within what it smooths', () => {
  const values = Array.from({ length: 300 }, (_, index) => 5 - index / 100 + (index % 2));
  const smoothed = smooth(values);
  expect([smoothed[0], smoothed.at(-1)]).toEqual([values[0], values.at(-1)]);
  const jump = (list: number[]) => Math.abs(list[150]! - list[151]!);
  expect(jump(smoothed)).toBeLessThan(jump(values) / 5);
});

test('figures are in the words of people', () => {
  expect([duration(800), duration(62_000), duration(3_600_000)]).toEqual([
    '800 ms',
    '1 min 2 s',
    '1 h',
  ]);
  expect([size(999), size(5_240_000)]).toEqual(['999 bytes', '5.2 MB']);
});

/** The sample's phase with every figure, more steps than points, and evaluations. */
function trained(run: string, numSteps: number): RunReport {
  const report = sampleReport({ run });
  const [phase] = report.phases;
  const points = Array.from({ length: numSteps }, (_, index) => ({
    step: index + 1,
    loss: index === 700 ? 40 : 7 - index / numSteps,
    learningRate: 0.02,
    tokensPerSecond: 10_000,
    numTokens: (index + 1) * 100,
    gradNorm: 1 / (index + 1),
    mfu: 0.41,
    memoryBytes: 1.2e9,
  }));
  const evaluations = [{ step: 500, valBpb: 1.9, valLoss: 6.6 }];
  const marks = [{ step: 800, kind: 'rate' as const, text: 'learning rate ×0.5', at: null }];
  return { ...report, phases: [{ ...phase!, numSteps, points: thin(points), evaluations, marks }] };
}

test('each figure that a trainer told has a chart, with what happened at its step', () => {
  const { elements, text } = read(renderReport(trained('policy-7f3a', 1000)));
  const names = ['gradient norm', 'tokens a second', 'MFU, share of the measured peak'];
  for (const name of [...names, 'memory of the trainer']) expect(text).toContain(name);
  expect(text).toContain('41.0 % at the end');
  expect(text).toContain('held-out loss 6.600 at step 500');
  expect(elements.filter(({ attributes }) => attributes['class'] === 'mark rate')).toHaveLength(5);
  const untold = read(renderReport(sampleReport())).text;
  expect(untold).not.toMatch(/gradient norm of|MFU, share/);
  expect(untold).toContain('tokens a second of pretrain');
});

test('a spike of one step among those that a point means stays in sight', () => {
  const { elements } = read(renderReport(trained('policy-7f3a', 1000)));
  const extremes = elements.find(({ attributes }) => attributes['class'] === 'extremes')!;
  const heights = [...extremes.attributes['d']!.matchAll(/ (-?[\d.]+)/g)].map(([, y]) => Number(y));
  // The chart begins at 44; the loss of 40 is its highest by far.
  expect(Math.min(...heights)).toBeLessThan(60);
  expect(heights.filter((height) => height < 200)).toHaveLength(1);
});

test('a page that is written again and again is read again by its browser, others are not', () => {
  expect(renderReport(sampleReport(), 15)).toMatch(/<meta http-equiv="refresh" content="15"/);
  expect(renderReport(sampleReport())).not.toContain('refresh');
});

test('two runs are a page with their losses over each other and what differs, which loads nothing', () => {
  const [a, b] = [trained('policy-7f3a', 1000), trained('policy-11aa', 300)];
  const page = renderComparison(compareRuns(a, b), a, b);
  const { elements, text } = read(page);
  expect(elements.map(({ name }) => name)).not.toContain('script');
  expect(text).toContain('policy-7f3a and policy-11aa');
  expect(text).toContain('over the tokens trained on');
  expect(elements.filter(({ attributes }) => attributes['class'] === 'series')).toHaveLength(1);
  expect(elements.filter(({ attributes }) => attributes['class'] === 'rival')).toHaveLength(1);
  expect(text).toMatch(/pretrain at [\d,]+ tokens/);
  expect(page).toContain('default-src &#39;none&#39;');
  const hostile = { ...b, endpoint: null, goal: '<b>', phases: [] };
  expect(renderComparison(compareRuns(a, hostile), a, hostile)).toContain('&lt;b&gt;');
});

test('the rates that were tried have a row each, with who went on from which step', () => {
  const [phase] = sampleReport().phases;
  const trials = [1, 3].map((multiple, trial) => ({
    trial,
    multiple,
    learningRate: multiple * 0.02,
    loss: trial === 0 ? 4.25 : null,
    valBpb: null,
  }));
  const at = new Date(0).toISOString();
  const { phase: name, round } = phase!;
  const rung = { phase: name, round, rung: 0, step: 48, trials, goesOn: [0], at };
  const { text } = read(renderReport(sampleReport({ sweep: [rung] })));
  expect(text).toContain('Learning rates tried');
  expect(text).toContain('step 48');
  expect(text).toMatch(/×1\s*0\.02\s*4\.250, goes on/);
  expect(text).toMatch(/×3\s*0\.06\s*diverged/);
  expect(read(renderReport(sampleReport())).text).not.toContain('Learning rates tried');
});
