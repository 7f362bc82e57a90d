/** What this machine can do, as far as it decides speed and bits: the planner gets it as data. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { cpuFlags, instructionSetOf } from '../config/instruction-set.ts';
import type { Machine } from '../config/recipe.ts';

/** Device, cores, memory and instruction set of this machine, as its processes may use them. */
export function describeMachine(): Machine {
  const allowed = process.constrainedMemory();
  const total = os.totalmem();
  const memory = allowed > 0 && allowed < total ? allowed : total;
  return {
    // The trainer computes on the CPU alone, whatever else the machine has.
    device: 'cpu',
    cores: os.availableParallelism(),
    // Another kernel reserves a few pages more or fewer; that is no other machine.
    memoryBytes: Math.floor(memory / 2 ** 28) * 2 ** 28,
    instructionSet: instructionSetOf(readCpuFlags(), process.arch),
  };
}

function readCpuFlags(): Set<string> {
  try {
    return cpuFlags(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return new Set();
  }
}
