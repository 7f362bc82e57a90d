/** What this machine can do, as far as it decides speed and bits: the planner gets it as data. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
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

/** The widest set that PyTorch's kernels choose by; it decides the bits of a CPU run. */
export function instructionSetOf(
  flags: ReadonlySet<string>,
  arch: string,
): Machine['instructionSet'] {
  if (arch === 'arm64') return 'neon';
  if (flags.has('amx_tile') && flags.has('amx_bf16')) return 'amx';
  if (flags.has('avx512f') && flags.has('avx512bw')) {
    return flags.has('avx512_bf16') ? 'avx512_bf16' : 'avx512';
  }
  if (flags.has('avx2')) return 'avx2';
  return 'other';
}

function readCpuFlags(): Set<string> {
  try {
    const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    return new Set(line.split(' '));
  } catch {
    return new Set();
  }
}
