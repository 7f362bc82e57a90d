import type Fs from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { instructionSetOf } from '../../config/instruction-set.ts';
import { describeMachine } from '../../infra/machine.ts';

/** Of a machine with an NVIDIA driver and a PyTorch that was built for it. */
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof Fs>();
  return {
    ...fs,
    existsSync: (path: string) => /nvidia/.test(path) || fs.existsSync(path),
    globSync: () => ['torch/version.py'],
    readFileSync: (path: string, encoding: 'utf8') =>
      path.endsWith('version.py') ? "cuda: str = '13.0'" : fs.readFileSync(path, encoding),
  };
});

describe('machine', () => {
  it('plans for the processor even where a GPU is: the trainer uses no other', () => {
    expect(describeMachine().device).toBe('cpu');
  });

  it('names the widest instruction set that PyTorch chooses its kernels by', () => {
    const flags = ['avx2', 'avx512f', 'avx512bw', 'avx512_bf16', 'amx_tile', 'amx_bf16'];
    const widest = (count: number) => instructionSetOf(new Set(flags.slice(0, count)), 'x64');
    expect([0, 1, 2, 3, 4, 5, 6].map(widest)).toEqual([
      'other',
      'avx2',
      'avx2',
      'avx512',
      'avx512_bf16',
      'avx512_bf16',
      'amx',
    ]);
    expect(instructionSetOf(new Set(flags), 'arm64')).toBe('neon');
  });
});
