/**
 * Finds the processes of a stack that are not its supervised programs: trainers outlive the worker
 * that started them, and programs outlive a supervisor that was killed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { processSchema } from '../config/trainer.ts';
import type { Layout } from './layout.ts';
import {
  bootId,
  commandLine,
  inspectProcess,
  isAlive,
  type ProcessIdentity,
  processesWithEnvironment,
} from './processes.ts';
import type { Program } from './programs.ts';

/** Every process of a stack carries this variable, set to the stack's home. */
export const stackMark = 'TEMPER_STACK_HOME';

/** Programs of this home that still run although their supervisor is gone. */
export function findOrphanedPrograms(layout: Layout, programs: Program[]): ProcessIdentity[] {
  const commands = new Set(programs.map((program) => program.argv.join('\0')));
  return marked(layout).filter((found) => commands.has(commandLine(found.pid).join('\0')));
}

/** Everything that any program of this home started and that still runs. */
export function findMarked(layout: Layout): ProcessIdentity[] {
  return marked(layout);
}

export interface TrainerProcesses {
  launchers: ProcessIdentity[];
  ranks: ProcessIdentity[];
}

/** torchrun and the ranks of every training run under this home. */
export function findTrainers(layout: Layout): TrainerProcesses {
  const recorded = recordedRanks(layout);
  const known = new Map<number, ProcessIdentity>();
  for (const found of [...marked(layout), ...recorded]) known.set(found.pid, found);
  for (const rank of recorded) {
    const parent = parentOf(rank);
    if (parent !== null && isLauncher(parent.pid)) known.set(parent.pid, parent);
  }
  const all = [...known.values()];
  const launchers = all.filter((found) => isLauncher(found.pid));
  const launcherPids = new Set(launchers.map((found) => found.pid));
  const rank0 = new Set(recorded.map((found) => found.pid));
  const ranks = all.filter(
    (found) =>
      !launcherPids.has(found.pid) &&
      (rank0.has(found.pid) || launcherPids.has(inspectProcess(found.pid)?.parent ?? 0)),
  );
  return { launchers, ranks };
}

function marked(layout: Layout): ProcessIdentity[] {
  return processesWithEnvironment(stackMark, layout.home);
}

function isLauncher(pid: number): boolean {
  return commandLine(pid)
    .slice(0, 4)
    .some((word) => /(^|\/)torchrun$/.test(word) || word.startsWith('torch.distributed'));
}

function parentOf(identity: ProcessIdentity): ProcessIdentity | null {
  const parent = inspectProcess(identity.pid)?.parent;
  const found = parent === undefined ? null : inspectProcess(parent);
  return found === null ? null : { pid: found.pid, startTime: found.startTime };
}

/** Rank 0 of each run, by the process.json in its run directory. */
function recordedRanks(layout: Layout): ProcessIdentity[] {
  const boot = bootId();
  return findFiles(layout, 'process.json').flatMap((file) => {
    try {
      const recorded = processSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
      return recorded.bootId === boot && isAlive(recorded)
        ? [{ pid: recorded.pid, startTime: recorded.startTime }]
        : [];
    } catch {
      return [];
    }
  });
}

function findFiles(layout: Layout, name: string): string[] {
  const skipped = new Set([
    layout.s3Data,
    layout.logs,
    layout.run,
    path.dirname(layout.temporalFile),
  ]);
  const walk = (folder: string, depth: number): string[] => {
    if (depth === 0 || skipped.has(folder)) return [];
    try {
      return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const full = path.join(folder, entry.name);
        if (entry.isDirectory()) return walk(full, depth - 1);
        return entry.name === name ? [full] : [];
      });
    } catch {
      return [];
    }
  };
  return walk(layout.home, 9);
}
