import stringWidth from 'string-width';
import { describe, expect, test } from 'vitest';
import { charsetOf, plot, sparkline, type Line, type Point } from '../../client/cli/plot.ts';
import {
  overlayLines,
  pairPhases,
  phaseLine,
  phaseLines,
  type CurveOptions,
} from '../../client/cli/render-curves.ts';
import type { CurvePoint, PhaseReport } from '../../client/report/run-report.ts';
import { sampleReport } from './report/sample-report.ts';
import { trainingAt } from './samples.ts';

const options: CurveOptions = { columns: 80, rows: 6, charset: 'unicode', colour: false };
const lineOf = (points: readonly Point[], letter = '*'): Line => ({
  points,
  style: 'cyan',
  letter,
});
const [sample] = sampleReport().phases;

const point = (step: number, more: Partial<CurvePoint> = {}): CurvePoint => ({
  step,
  loss: 8 - step / 25,
  learningRate: 0.02,
  tokensPerSecond: 10_000 + step,
  numTokens: step * 1000,
  gradNorm: 1 / step,
  mfu: 0.4,
  memoryBytes: 1.2e9,
  ...more,
});
const phaseOf = (numSteps: number, change: Partial<PhaseReport> = {}): PhaseReport => ({
  ...sample!,
  numSteps,
  points: Array.from({ length: numSteps }, (_, index) => point(index + 1)),
  ...change,
});
const bare = (text: string) => text.replaceAll(/\u001b\[\d+m/g, '');

describe('a plot', () => {
  test('draws in Braille where there is Unicode, and in letters where not', () => {
    const falling = lineOf([0, 25, 50, 75, 100].map((x) => [x, 10 - x / 10] as const));
    expect(plot([falling], { ...options, columns: 32 })).toEqual([
      '10 ┤⠉⠒⠤⣀⡀',
      '   │    ⠈⠑⠢⠤⣀',
      '   │         ⠉⠒⠢⢄⡀',
      ' 5 ┤             ⠈⠉⠒⠤⢄⣀',
      '   │                   ⠉⠒⠢⢄⡀',
      ' 0 ┤                       ⠈⠉⠒⠤⣀',
      '   └┬─────────────┬────────────┬',
      '    0            50          100',
    ]);
    expect(plot([falling], { ...options, columns: 32, charset: 'ascii' }).join('')).toMatch(
      /^[ -~]+$/,
    );
  });

  test('shows a single spike among a hundred thousand steps', () => {
    const points = Array.from({ length: 100_000 }, (_, step): Point => [step, 1]);
    points[61_803] = [61_803, 9];
    const lines = plot([lineOf(points)], options);
    const top = lines.findIndex((line) => /[\u2801-\u28ff]/.test(line));
    expect(top).toBe(0);
    const column = lines[0]!.search(/[\u2801-\u28ff]/);
    expect(column / 80).toBeCloseTo(0.62, 1);
  });

  test('of one value, of equal values and of none is drawn, drawn and left out', () => {
    expect(plot([lineOf([[1, 5]])], options).join('')).toMatch(/[\u2801-\u28ff]/);
    expect(plot([lineOf([[1, 0], [2, 0]])], options).join('')).toMatch(/[\u2801-\u28ff]/); // prettier-ignore
    expect(plot([lineOf([])], options)).toEqual([]);
    expect(plot([lineOf([[1, NaN]])], options)).toEqual([]);
  });

  test('leaves a gap where a loss is no number', () => {
    const points = Array.from({ length: 100 }, (_, x): Point => [x, x > 30 && x < 60 ? NaN : 2]);
    const drawn = plot([lineOf(points)], options).find((line) => /[\u2801-\u28ff]/.test(line))!;
    expect(drawn).toMatch(/[\u2801-\u28ff] {15,30}[\u2801-\u28ff]/);
  });

  test('has no place in fewer than 28 columns', () => {
    expect(plot([lineOf([[1, 5]])], { ...options, columns: 27 })).toEqual([]);
  });

  test('points at the steps where something happened', () => {
    const lines = plot([lineOf([[0, 1], [100, 2]])], { ...options, marks: [50, 100] }); // prettier-ignore
    expect(lines.at(-2)!.trimEnd()).toMatch(/^ +▲ +▲$/);
    expect(lines.at(-2)!.trimEnd()).toHaveLength(80);
  });
});

describe('a line of small columns', () => {
  test('goes from the lowest to the highest, with gaps, in so many columns at most', () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8, 'unicode')).toBe('▁▂▃▄▅▆▇█');
    expect(sparkline([0, NaN, 7], 8, 'unicode')).toBe('▁ █');
    expect(sparkline([5, 5, 5], 8, 'ascii')).toBe('___');
    expect(sparkline([], 8, 'ascii')).toBe('');
    expect(
      sparkline(
        Array.from({ length: 1000 }, (_, at) => at),
        10,
        'unicode',
      ),
    ).toHaveLength(10);
  });
});

test('letters are used by a locale that is not of Unicode and on the console of Linux', () => {
  expect(charsetOf({ LANG: 'C.UTF-8' })).toBe('unicode');
  expect(charsetOf({ LANG: 'zh_TW.utf8' })).toBe('unicode');
  expect(charsetOf({})).toBe('unicode');
  expect(charsetOf({ LANG: 'en_US.UTF-8', LC_ALL: 'C' })).toBe('ascii');
  expect(charsetOf({ LANG: 'C.UTF-8', TERM: 'linux' })).toBe('ascii');
});

describe('the curves of a phase', () => {
  const marks = [
    { step: 60, kind: 'lost' as const, text: '王小明 ordered 學習率 ×0.5 '.repeat(9), at: null },
  ];
  const phases: PhaseReport[] = [
    phaseOf(1),
    phaseOf(100, { marks }),
    phaseOf(20_000, { marks }),
    { ...phaseOf(50), points: phaseOf(50).points.map((one) => ({ ...one, loss: NaN })) },
    { ...phaseOf(50), points: [] },
  ];

  test.each([20, 40, 80, 200])('never wrap at a width of %i', (columns) => {
    for (const phase of phases) {
      for (const charset of ['unicode', 'ascii'] as const) {
        const lines = [
          ...phaseLines({ phase, live: null }, { ...options, columns, charset }),
          ...pairPhases({ run: 'a', phases: [phase] }, { run: 'b', phases: [phase] }).flatMap(
            (pair) => overlayLines(pair, { ...options, columns, charset }),
          ),
        ];
        for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(columns);
      }
    }
  });

  test('name step, share and time left, and each figure with its last value and its range', () => {
    const live = trainingAt(100, { numSteps: 200, leftMs: 61_000 });
    const lines = phaseLines({ phase: phaseOf(100, { marks }), live }, options);
    expect(lines[0]).toBe('pretrain: step 100 of 200, 50 %, 1:01 left');
    const text = lines.join('\n');
    expect(text).toMatch(/bits a byte +1\.900/);
    expect(text).toMatch(/gradient norm +0\.0100 +[▁-█]+ 0\.0100 to 1\.00/);
    expect(text).toMatch(/tokens a second +10,09\d +[▁-█]+ 10,001 to 10,100/);
    expect(text).toMatch(/MFU +40\.0 % /);
    expect(text).toMatch(/memory +1\.20 GB /);
    expect(text).toMatch(/▲ step 60: 王小明/);
    expect(text).toContain('●');
  });

  test('say nothing of figures that a trainer does not tell', () => {
    const points = [1, 2].map((step) => ({
      step,
      loss: 5,
      learningRate: 0.1,
      tokensPerSecond: 10,
    }));
    const text = phaseLines({ phase: phaseOf(2, { points }), live: null }, options).join('\n');
    expect(text).toContain('tokens a second');
    expect(text).not.toMatch(/MFU|memory|gradient/);
  });

  test('in colour hold the same text', () => {
    const curve = { phase: phaseOf(100, { marks }), live: null };
    const coloured = phaseLines(curve, { ...options, colour: true });
    expect(coloured.join('')).toContain('\u001b[36m');
    expect(coloured.map((line) => bare(line).trimEnd())).toEqual(phaseLines(curve, options));
  });

  test('are one line for a pipe', () => {
    const line = phaseLine({ phase: phaseOf(100), live: trainingAt(100, { numSteps: 200 }) });
    expect(line).toMatch(
      /^pretrain: step 100 of 200, 50 % {2}loss 4\.000 {2}held-out 3\.400 {2}bits a byte 1\.900 {2}learning rate 0\.02 /,
    );
    expect(line).not.toContain('\n');
  });
});

describe('two runs over each other', () => {
  const [pair] = pairPhases(
    { run: 'policy-7f3a', phases: [phaseOf(100)] },
    { run: 'policy-11aa', phases: [phaseOf(50)] },
  );

  test('lie on one axis of tokens, told apart by letters where there is no colour', () => {
    const lines = overlayLines(pair!, options);
    expect(lines[1]).toBe('  * policy-7f3a   + policy-11aa');
    const drawn = lines.slice(2, 8).join('\n');
    expect(drawn).toContain('*');
    // Equal where both are, and only one goes on to the end.
    expect(drawn).toContain('#');
    expect(lines.join('\n')).toContain('100,000');
    expect(lines.join('\n')).toMatch(/loss +4\.000 +6\.000/);
  });

  test('by colours where there are', () => {
    const drawn = overlayLines(pair!, { ...options, colour: true }).join('\n');
    expect(drawn).toContain('\u001b[36m');
    expect(drawn).toMatch(/\u001b\[33m[\u2801-\u28ff]/);
  });

  test('are compared in the phases that both have trained', () => {
    const other = [phaseOf(10, { phase: 'sft' }), phaseOf(10, { points: [] })];
    expect(pairPhases({ run: 'a', phases: [phaseOf(10)] }, { run: 'b', phases: other })).toEqual(
      [],
    );
  });
});
