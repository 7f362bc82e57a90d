/** What a benchmark is, and the one line of JSON that each ends with. */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { describeMachine } from '../../infra/machine.ts';
import { holds, rounded, type Bound } from './figures.ts';

export interface Measured {
  figures: Record<string, unknown>;
  bounds: Bound[];
}

export interface Bench {
  name: string;
  summary: string;
  /** Flat: a field is an option of the command, its description the help, its default the default. */
  settings: z.ZodObject;
  measure: (settings: unknown) => Promise<Measured>;
}

/** Puts a benchmark together; its settings are parsed before it starts. */
export function defineBench<Settings extends z.ZodObject>(bench: {
  name: string;
  summary: string;
  settings: Settings;
  measure: (settings: z.infer<Settings>) => Promise<Measured>;
}): Bench {
  return { ...bench, measure: (settings) => bench.measure(bench.settings.parse(settings)) };
}

interface OptionSchema {
  type?: string;
  default?: unknown;
  description?: string;
}

function optionsOf(bench: Bench): [string, OptionSchema][] {
  const { properties } = z.toJSONSchema(bench.settings, { io: 'input', unrepresentable: 'any' });
  return Object.entries((properties ?? {}) as Record<string, OptionSchema>);
}

/** A setting as it is typed, in the manner of every other command: `stopsEach` is `--stops-each`. */
function optionOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The settings that a command line names, with the defaults of the rest. */
export function parseSettings(bench: Bench, args: string[]): Record<string, unknown> {
  const known = optionsOf(bench);
  const options = Object.fromEntries(
    known.map(([name, { type }]) => [
      optionOf(name),
      { type: type === 'boolean' ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
  const given = Object.fromEntries(
    Object.entries(values).map(([option, value]) => {
      const [name, { type }] = known.find(([setting]) => optionOf(setting) === option)!;
      const isNumber = type === 'number' || type === 'integer';
      return [name, isNumber && typeof value === 'string' ? Number(value) : value];
    }),
  );
  const parsed = bench.settings.safeParse(given);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(
    ({ path, message }) => `--${optionOf(path.join('.'))}: ${message}`,
  );
  throw new Error(`bench ${bench.name}: ${faults.join('; ')}. npm run bench lists the options.`);
}

/** Every benchmark with its options, for people. */
export function usage(benches: readonly Bench[]): string[] {
  const lines = [
    'npm run bench <name> [-- options]; the last line it prints is one JSON object',
    '',
  ];
  for (const bench of benches) {
    lines.push(`  ${bench.name.padEnd(12)}${bench.summary}`);
    for (const [name, { type, default: value, description }] of optionsOf(bench)) {
      const option = `--${optionOf(name)}`;
      const flag = type === 'boolean' ? option : `${option} <${type ?? 'value'}>`;
      const otherwise =
        type === 'boolean' || value === undefined ? '' : ` [${JSON.stringify(value)}]`;
      lines.push(`    ${flag.padEnd(22)}${description ?? ''}${otherwise}`);
    }
  }
  return lines;
}

export interface Report {
  bench: string;
  ok: boolean;
  figures: Record<string, unknown>;
  bounds: (Bound & { holds: boolean })[];
  machine: Record<string, unknown>;
  settings: Record<string, unknown>;
  startedAt: string;
  durationMs: number;
  error: string | null;
}

/** Runs a benchmark to its report; one that breaks down reports why, with no figures. */
export async function runBench(bench: Bench, settings: Record<string, unknown>): Promise<Report> {
  const startedAt = new Date();
  let measured: Measured = { figures: {}, bounds: [] };
  let error: string | null = null;
  try {
    measured = await bench.measure(settings);
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.message : String(thrown);
    if (process.env['TEMPER_DEBUG'] !== undefined) console.error(thrown);
  }
  const bounds = measured.bounds.map((bound) => ({ ...rounded(bound), holds: holds(bound) }));
  return {
    bench: bench.name,
    ok: error === null && bounds.every((bound) => bound.holds),
    figures: rounded(measured.figures),
    bounds,
    machine: {
      ...describeMachine(),
      cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
      load: rounded(os.loadavg()[0]!, 2),
    },
    settings,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    error,
  };
}

/** A line for each bound: what was found, what was expected. */
export function boundLines({ bounds }: Pick<Report, 'bounds'>): string[] {
  return bounds.map(({ name, value, min, max, holds: kept }) => {
    const limits = [
      ...(min === undefined ? [] : [`at least ${min}`]),
      ...(max === undefined ? [] : [`at most ${max}`]),
    ];
    return `  ${kept ? '✓' : '✗'} ${name}: ${value ?? 'not measured'}, expected ${limits.join(' and ')}`;
  });
}

/** A line for people; never the last one. */
export function say(line = ''): void {
  process.stdout.write(`${line}\n`);
}
