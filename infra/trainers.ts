/**
 * Finds the processes of a stack that are not its supervised programs: trainers outlive the worker
 * that started them, and programs outlive a supervisor that was killed.
 */
import { readdirSync } from 'node:fs';
import type { Layout } from './layout.ts';
import {
  commandLine,
  inspectProcess,
  type ProcessIdentity,
  processesWithEnvironment,
} from './processes.ts';

/** Every process of a stack carries this variable, set to the stack's home; only trainers do not. */
export const stackMark = 'TEMPER_STACK_HOME';

/** Everything that a program of this home started and that still runs. */
export function findMarked(layout: Layout): ProcessIdentity[] {
  return processesWithEnvironment(stackMark, layout.home);
}

/** Of these, all that do not descend from the living supervisor (null: there is none, so all of them). */
export function findUnsupervised(layout: Layout, supervisor: number | null): ProcessIdentity[] {
  return findMarked(layout).filter(
    ({ pid }) => supervisor === null || !descendsFrom(pid, supervisor),
  );
}

/** Whether a process is another, or was started by it or by a living descendant of it. */
function descendsFrom(pid: number, ancestor: number): boolean {
  for (let current = pid; current > 1; current = inspectProcess(current)?.parent ?? 0) {
    if (current === ancestor) return true;
  }
  return false;
}

export interface TrainerProcesses {
  /** torchrun, as `trainer.launch`. */
  launchers: ProcessIdentity[];
  ranks: ProcessIdentity[];
}

const phaseModule = /^trainer\.(launch|pretrain|sft|dpo|orpo)$/;

/** torchrun and the ranks of every training run under this home, told by their command lines. */
export function findTrainers(layout: Layout): TrainerProcesses {
  const launchers: ProcessIdentity[] = [];
  const ranks: ProcessIdentity[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const found = inspectProcess(Number(entry));
    if (found === null) continue;
    const words = commandLine(found.pid);
    const module = words.find((word) => phaseModule.test(word));
    const config = words[words.indexOf('--config') + 1] ?? '';
    if (module === undefined || !config.startsWith(`${layout.home}/runs/`)) continue;
    const identity = { pid: found.pid, startTime: found.startTime };
    (module === 'trainer.launch' ? launchers : ranks).push(identity);
  }
  return { launchers, ranks };
}
