/** The GPUs of a host, as NVIDIA's driver names them. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Gpu } from '../config/recipe.ts';

const query = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits'];
const mib = 2 ** 20;

/** Null where there are none, or no driver. Whether PyTorch can use them shows when a trainer starts. */
export async function findGpus(program = 'nvidia-smi'): Promise<Gpu | null> {
  try {
    const { stdout } = await promisify(execFile)(program, query, { timeout: 20_000 });
    return parseGpus(stdout);
  } catch {
    return null;
  }
}

/** Lines such as `NVIDIA H100 80GB HBM3, 81559`. Of unlike ones, those of the first kind: ranks wait for the slowest. */
export function parseGpus(text: string): Gpu | null {
  const found = text.split('\n').flatMap((line) => {
    const match = /^(.+), (\d+)$/.exec(line.trim());
    return match === null ? [] : [{ name: match[1]!, memoryBytes: Number(match[2]) * mib }];
  });
  const [first] = found;
  if (first === undefined) return null;
  const alike = found.filter(({ name }) => name === first.name);
  const memoryBytes = Math.min(...alike.map((gpu) => gpu.memoryBytes));
  return memoryBytes > 0 ? { name: first.name, count: alike.length, memoryBytes } : null;
}
