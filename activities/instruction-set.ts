/** The instruction set of a host: another one computes other bits. */
import { readFile } from 'node:fs/promises';
import { cpuFlags, instructionSetOf, type InstructionSet } from '../config/instruction-set.ts';

/** As the kernel says; where that cannot be read, nothing is known. */
export async function findInstructionSet(): Promise<InstructionSet> {
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  return instructionSetOf(cpuFlags(cpuinfo), process.arch);
}
