/** What a host says of its GPUs. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { findGpus, parseGpus } from '../../activities/gpus.ts';

test('equal GPUs are counted, and of unlike ones the first kind trains', () => {
  expect(parseGpus('NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n')).toEqual({
    name: 'NVIDIA H100 80GB HBM3',
    count: 2,
    memoryBytes: 81_559 * 2 ** 20,
  });
  expect(parseGpus('NVIDIA A100, 40960\nNVIDIA T4, 15360\nNVIDIA A100, 40000')).toEqual({
    name: 'NVIDIA A100',
    count: 2,
    memoryBytes: 40_000 * 2 ** 20,
  });
});

test('a host whose driver is missing, broken or sees nothing has none', async () => {
  expect(parseGpus('No devices were found\n')).toBeNull();
  expect(parseGpus('NVIDIA A100, [N/A]\n')).toBeNull();
  expect(await findGpus('/no/such/nvidia-smi')).toBeNull();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-gpus-'));
  const program = path.join(folder, 'nvidia-smi');
  try {
    await writeFile(program, '#!/bin/sh\necho "Failed to initialize NVML"; exit 9\n');
    await chmod(program, 0o755);
    expect(await findGpus(program)).toBeNull();
    await writeFile(program, '#!/bin/sh\necho "NVIDIA L4, 23034"\n');
    expect(await findGpus(program)).toMatchObject({ name: 'NVIDIA L4', count: 1 });
  } finally {
    await rm(folder, { recursive: true });
  }
});
