/** `temper curves`: how a run learns, or two of them over each other, in the terminal or for TensorBoard. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepTensorboard, readCurves, rememberEvents, type RunCurves } from '../curves.ts';
import { ClientError } from '../errors.ts';
import { openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { charsetOf, type Charset } from './plot.ts';
import { screenOf, type Screen } from './progress.ts';
import {
  overlayLines,
  pairPhases,
  phaseLine,
  phaseLines,
  type CurveOptions,
} from './render-curves.ts';
import { temporalOf } from './report.ts';
import { count } from './text.ts';
import { sayInterrupted } from './watch.ts';

export interface CurvesOptions extends CommonOptions {
  watch?: boolean;
  ascii?: boolean;
  tensorboard?: string;
}

const everyMs = 5_000;
const plotRows = 12;
const leastPlotRows = 4;

export async function curvesCommand(
  run: string,
  other: string | undefined,
  options: CurvesOptions,
): Promise<number> {
  const context = await openContext();
  const temporal = await temporalOf(context);
  const store = rememberEvents(context.store);
  const names = other === undefined ? [run] : [run, other];
  const screen = screenOf(process.stdout, process.env);
  const charset = options.ascii === true ? 'ascii' : charsetOf(process.env);
  const away = new AbortController();
  const interrupt = () => away.abort();
  if (options.watch === true) {
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
  }
  const draw = options.watch === true ? redrawer(screen, options) : null;
  for (;;) {
    const curves = await Promise.all(
      names.map((name) => readCurves({ temporal, store, run: name })),
    );
    const kept = await keep(store, curves, options);
    const goesOn = curves.some(({ state }) => state === 'running');
    if (draw !== null && goesOn) {
      if (!screen.isTTY) for (const line of curves.flatMap(briefLines)) draw([line]);
      else draw(fitting(curves, { screen, charset, rows: process.stdout.rows ?? 24 }));
      await sleep(everyMs, undefined, { signal: away.signal }).catch(() => undefined);
      if (away.signal.aborted) return sayInterrupted(run, options);
      continue;
    }
    draw?.([]);
    if (options.json === true) {
      printJson({
        runs: curves.map(({ run: name, state, live, phases }) => ({
          run: name,
          state,
          live,
          phases,
        })),
        tensorboard: kept.map(({ phase, folder, numValues }) => ({ phase, folder, numValues })),
      });
    }
    const columns = screen.isTTY ? screen.columns - 1 : screen.columns;
    const look = { columns, rows: plotRows, charset, colour: screen.colour };
    for (const line of linesOf(curves, look)) say(options, line);
    sayKept(kept, options);
    return ExitCode.ok;
  }
}

async function keep(
  store: Parameters<typeof keepTensorboard>[0],
  curves: readonly RunCurves[],
  { tensorboard }: CurvesOptions,
): ReturnType<typeof keepTensorboard> {
  if (tensorboard === undefined) return [];
  const folder = path.resolve(tensorboard);
  try {
    const kept = await Promise.all(curves.map((one) => keepTensorboard(store, one, folder)));
    return kept.flat();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new ClientError(
      'input',
      `--tensorboard: cannot write below ${folder} (${code}). Name a folder that is yours.`,
      error,
    );
  }
}

function sayKept(kept: Awaited<ReturnType<typeof keepTensorboard>>, options: CurvesOptions): void {
  const paint = stdoutPaint();
  for (const { phase, folder, numValues } of kept) {
    say(options, `${paint('green', '✓')} ${phase}: ${count(numValues)} values in ${folder}`);
  }
  if (kept.length > 0) {
    say(options, `  look at them: tensorboard --logdir ${options.tensorboard}`);
  }
}

/** Everything that there is to see of a run, or of two. */
function linesOf(curves: readonly RunCurves[], options: CurveOptions): string[] {
  const [one, other] = curves as [RunCurves, RunCurves | undefined];
  if (other !== undefined) {
    const pairs = pairPhases(one, other);
    if (pairs.length > 0) return joined(pairs.map((pair) => overlayLines(pair, options)));
    return [`${one.run} and ${other.run} have no phase with a curve in common`];
  }
  if (one.phases.length === 0) return [`run ${one.run} has trained nothing yet`];
  return joined(
    one.phases.map((phase) => phaseLines({ phase, live: liveOf(one, phase) }, options)),
  );
}

const joined = (groups: readonly string[][]) =>
  groups.flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]));

function liveOf({ live }: RunCurves, { phase }: { phase: string }): RunCurves['live'] {
  return live?.phase === phase ? live : null;
}

function briefLines(curves: RunCurves): string[] {
  const phase = curves.phases.at(-1);
  if (phase === undefined) return [`${curves.run}  trains nothing yet`];
  return [`${curves.run}  ${phaseLine({ phase, live: liveOf(curves, phase) })}`];
}

/** What a screen of so many rows shows: the phase at work in full, those before it in a line each. */
function fitting(
  curves: readonly RunCurves[],
  { screen, charset, rows }: { screen: Screen; charset: Charset; rows: number },
): string[] {
  const [one, other] = curves as [RunCurves, RunCurves | undefined];
  const options = { columns: screen.columns - 1, charset, colour: screen.colour };
  const at = (plotted: number): string[] => {
    const look = { ...options, rows: plotted };
    if (other !== undefined) return linesOf(curves, look).slice(0, rows - 1);
    const before = one.phases.slice(0, -1);
    const last = { ...one, phases: one.phases.slice(-1) };
    const done = before.map((phase) => phaseLines({ phase, live: null }, look)[0]!);
    return [...done, ...linesOf([last], look)];
  };
  const lines = at(plotRows);
  const over = lines.length + 1 - rows;
  if (over <= 0) return lines;
  return at(Math.max(leastPlotRows, plotRows - over)).slice(0, Math.max(1, rows - 1));
}

/** On a terminal replaces what it drew before; in a pipe adds lines, each once. */
function redrawer(screen: Screen, { json }: CurvesOptions): (lines: readonly string[]) => void {
  let drawn = 0;
  const told = new Set<string>();
  return (lines) => {
    if (json === true) return;
    if (!screen.isTTY) {
      for (const line of lines) if (!told.has(line)) screen.write(`${line}\n`);
      for (const line of lines) told.add(line);
      return;
    }
    const erase = drawn > 0 ? `\u001b[${drawn}A\u001b[0J` : '';
    screen.write(erase + lines.map((line) => `${line}\n`).join(''));
    drawn = lines.length;
  };
}
