import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { progressView } from '../../client/cli/progress.ts';
import { renderStatus } from '../../client/cli/render-status.ts';
import { padEnd, plain, spread, truncate } from '../../client/cli/text.ts';
import { start, statusAt, trainingAt } from './samples.ts';

const options = (columns: number, now: number) => ({ columns, colour: false, now });

test('each stage has one line, and the active one shows how training goes', () => {
  const status = statusAt('pretrain', { training: trainingAt(500) });
  expect(renderStatus(status, options(100, start + 130_000))).toEqual([
    '✓ ingest         ingest is done                                                                 0:10',
    '✓ preprocess     preprocess is done                                                             0:10',
    '✓ plan           plan is done                                                                   0:10',
    '▸ pretrain       ███░░░░░░░░░  500/2,000  loss 4.50  12,345 tok/s  durable 400  5:00 left       1:40',
    '· then evaluate-base, fine-tune, evaluate-tuned, align, evaluate, deploy',
  ]);
});

test('a narrow terminal keeps the step and the time left, and nothing wraps', () => {
  const status = statusAt('pretrain', { training: trainingAt(500) });
  const lines = renderStatus(status, options(44, start + 130_000));
  expect(lines).toEqual([
    '✓ ingest         ingest is done         0:10',
    '✓ preprocess     preprocess is done     0:10',
    '✓ plan           plan is done           0:10',
    '▸ pretrain       500/2,000  5:00 left   1:40',
    '· then evaluate-base, fine-tune, evaluate-t…',
  ]);
  for (let columns = 20; columns < 120; columns += 1) {
    for (const line of renderStatus(status, options(columns, start + 130_000))) {
      expect(stringWidth(line)).toBeLessThanOrEqual(columns);
    }
  }
});

test('double-width characters keep their columns', () => {
  const status = statusAt('preprocess');
  status.stages[0]!.summary = '政策文件 1,204 份，繁體中文八成一，英文一成九';
  const lines = renderStatus(status, options(50, start + 15_000));
  expect(lines[0]).toBe('✓ ingest         政策文件 1,204 份，繁體中文… 0:10');
  expect(stringWidth(lines[0]!)).toBeLessThanOrEqual(50);
  expect(lines[1]).toBe('▸ preprocess                                  0:05');
});

test('below the stage that trains stand the figures that its trainer told, as many as fit', () => {
  const figures = {
    learningRate: 0.00031,
    gradNorm: 0.8213,
    mfu: 0.4127,
    memoryBytes: 1_240_000_000,
    valLoss: 4.61,
    leftMs: 61_000,
  };
  const status = statusAt('pretrain', { training: trainingAt(500, figures) });
  const below = (columns: number, brief = false) =>
    renderStatus(status, { ...options(columns, start + 130_000), brief }).slice(3, -1);
  expect(below(100)).toEqual([
    '▸ pretrain       ███░░░░░░░░░  500/2,000  loss 4.50  12,345 tok/s  durable 400  1:01 left       1:40',
    '                 held-out 4.61  lr 3.1e-4  grad norm 0.821  MFU 41.3 %  memory 1.24 GB',
  ]);
  expect(below(40)[1]).toBe(`${' '.repeat(16)}held-out 4.61  lr 3.1e-4`);
  expect(below(100, true)).toHaveLength(1);
  for (let columns = 20; columns < 120; columns += 1) {
    for (const line of below(columns)) expect(stringWidth(line)).toBeLessThanOrEqual(columns);
  }
});

test('notes stay where they happened', () => {
  const status = statusAt('pretrain', {
    notes: [{ at: start + 15_000, stage: 'preprocess', text: 'data worker died; taken over' }],
  });
  expect(renderStatus(status, options(60, start + 40_000))).toEqual([
    '✓ ingest         ingest is done                         0:10',
    '! data worker died; taken over',
    '✓ preprocess     preprocess is done                     0:10',
    '✓ plan           plan is done                           0:10',
    '▸ pretrain                                              0:10',
    '· then evaluate-base, fine-tune, evaluate-tuned, align, eva…',
  ]);
});

test('an activity tells what it does, an attempt that failed says why, a missing worker is named', () => {
  const activity = {
    workflowId: 'pipeline/policy-7f3a',
    activity: 'ingestCorpus',
    attempt: 3,
    heartbeat: null,
    heartbeatAt: null,
    lastFailure: 'the store does not answer',
    waiting: false,
  };
  const trouble = statusAt('ingest', { activities: [activity] });
  expect(renderStatus(trouble, options(80, start + 5000))[0]).toBe(
    '▸ ingest         ingestCorpus tries again (attempt 3) after: the store doe… 0:05',
  );
  const beating = {
    ...activity,
    lastFailure: null,
    heartbeat: { kind: 'evaluate', line: '40 of 60' },
  };
  const calm = statusAt('ingest', { activities: [beating] });
  expect(renderStatus(calm, options(40, start + 5000))[0]).toBe(
    '▸ ingest         40 of 60           0:05',
  );
  const waiting = { ...activity, lastFailure: null, waiting: true };
  const idle = statusAt('ingest', {
    activities: [waiting],
    stale: 'the control worker does not answer',
  });
  const lines = renderStatus(idle, options(100, start + 5000));
  expect(lines[0]).toMatch(/^▸ ingest {9}waits for a worker to take ingestCorpus +0:05$/);
  expect(lines.at(-1)).toBe(
    '? the control worker does not answer; the supervisor brings it back, this goes on by itself',
  );
});

test('reused, skipped and failed stages differ by more than colour', () => {
  const status = statusAt('deploy', { state: 'failed' });
  status.stages[0]!.state = 'reused';
  status.stages[5]!.state = 'skipped';
  status.stages[8]!.state = 'failed';
  const lines = renderStatus(status, options(70, start + 99_000));
  expect(lines.filter((line) => !line.startsWith('✓'))).toEqual([
    '= ingest         reused, nothing changed; ingest is done          0:10',
    '- fine-tune      fine-tune is done',
    '✗ evaluate       evaluate is done                                 0:10',
  ]);
});

test('colours mark only when asked for, and never change the text', () => {
  const status = statusAt('pretrain', { training: trainingAt(500) });
  const at = { columns: 80, now: start + 130_000 };
  const coloured = renderStatus(status, { ...at, colour: true }).join('\n');
  expect(coloured).toContain('\u001b[32m✓');
  const bare = coloured.replaceAll(/\u001b\[\d+m/g, '');
  expect(bare).toBe(renderStatus(status, { ...at, colour: false }).join('\n'));
});

test('text from documents cannot command the terminal', () => {
  expect(plain('a\u001b[2Jb\nc\u202ed')).toBe('a [2Jb c d');
});

test('truncation counts columns, not characters', () => {
  expect(truncate('政策文件', 5)).toBe('政策…');
  expect(truncate('政策文件', 4)).toBe('政…');
  expect(truncate('👩‍👩‍👧 family', 4)).toBe('👩‍👩‍👧 …');
  expect(padEnd('政策', 6)).toBe('政策  ');
  expect(spread('left', 'right', 16)).toBe('left       right');
});

function screen(isTTY: boolean) {
  const written: string[] = [];
  return {
    written,
    isTTY,
    columns: 60,
    colour: false,
    write: (text: string) => void written.push(text),
  };
}

test('a terminal redraws its own lines only, and prints each settled line once', () => {
  const to = screen(true);
  const view = progressView(to);
  view.update(statusAt('preprocess'), start + 11_000);
  view.update(statusAt('preprocess'), start + 12_000);
  view.update(statusAt('plan'), start + 21_000);
  view.note('⚡ killed');
  view.end();
  const text = to.written.join('');
  expect(text.match(/✓ ingest/g)).toHaveLength(1);
  expect(text.match(/✓ preprocess/g)).toHaveLength(1);
  expect(to.written.filter((part) => part.startsWith('\u001b'))).toEqual(
    Array.from({ length: 3 }, () => '\u001b[2A\u001b[0J'),
  );
});

test('a pipe gets a line for each change and one in ten seconds, without colours or cursor', () => {
  const to = screen(false);
  const view = progressView(to);
  for (let second = 0; second <= 25; second += 1) {
    const training = trainingAt(second * 10);
    view.update(statusAt('pretrain', { training }), start + 30_000 + second * 1000);
  }
  view.end();
  const lines = to.written.join('').trimEnd().split('\n');
  expect(lines.filter((line) => line.startsWith('✓'))).toHaveLength(3);
  expect(
    lines.filter((line) => line.startsWith('▸')).map((line) => /(\d+)\/2,000/.exec(line)?.[1]),
  ).toEqual(['0', '100', '200']);
  expect(to.written.join('')).not.toContain('\u001b');
});

test('in a pipe, what waits for a person is said once', () => {
  const written: string[] = [];
  const write = (text: string) => void written.push(text);
  const view = progressView({ isTTY: false, columns: 80, colour: false, write });
  const approval = { model: 'policy', version: 2, since: start, approved: null };
  const status = statusAt('deploy', { approval });
  view.update(status, start + 100_000);
  const before = written.length;
  expect(written.at(-1)).toMatch(/^‖ deploy .*npx temper approve policy@2/);
  view.update(status, start + 200_000);
  expect(written.length).toBe(before);
});
