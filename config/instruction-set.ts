/** The instruction sets of processors, as far as they decide the speed and the bits of a training. */
import type { Machine } from './recipe.ts';

export type InstructionSet = Machine['instructionSet'];

/** The widest set that PyTorch's kernels choose by; it decides the bits of a CPU run. */
export function instructionSetOf(flags: ReadonlySet<string>, arch: string): InstructionSet {
  if (arch === 'arm64') return 'neon';
  if (flags.has('amx_tile') && flags.has('amx_bf16')) return 'amx';
  if (flags.has('avx512f') && flags.has('avx512bw')) {
    return flags.has('avx512_bf16') ? 'avx512_bf16' : 'avx512';
  }
  if (flags.has('avx2')) return 'avx2';
  return 'other';
}

/** What a processor can do, by the text of `/proc/cpuinfo`. */
export function cpuFlags(cpuinfo: string): Set<string> {
  return new Set((/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(' '));
}

/** Whether a host computes the bits that were planned for; one that says nothing is as it was, and of `other` nothing is known. */
export function computesAs(
  found: InstructionSet | undefined,
  wanted: InstructionSet | undefined,
): boolean {
  return wanted === undefined || wanted === 'other' || found === undefined || found === wanted;
}

/** What to plan for: what the hosts that live say, where none of them computes as the machine that asks. */
export function plannedSet(
  asking: InstructionSet,
  hosts: readonly (InstructionSet | undefined)[],
): InstructionSet {
  const said = hosts.filter((each) => each !== undefined);
  if (said.length === 0 || said.some((each) => computesAs(each, asking))) return asking;
  const times = (set: InstructionSet) => said.filter((each) => each === set).length;
  return said.toSorted((a, b) => times(b) - times(a) || (a < b ? -1 : 1))[0]!;
}
