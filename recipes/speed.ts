/** How fast a machine trains, from recorded measurements: the same machine always plans the same. */
import { ranksAHost, type Machine, type Reason } from '../config/recipe.ts';

/**
 * Sustained floating-point operations a second of one core in this trainer, measured end to end (see
 * docs/log.md); the others are scaled by the width of their units.
 */
const perCore: Record<Machine['instructionSet'], number> = {
  amx: 180e9,
  avx512_bf16: 150e9,
  avx512: 60e9,
  avx2: 35e9,
  neon: 35e9,
  other: 10e9,
};
const perGpu = 100e12;

/** Sustained training speed for a model of that width, in floating-point operations a second. */
export function trainingSpeed(machine: Machine, hiddenSize: number): number {
  // Narrow matrices leave the units idle: half of the speed is reached at a width of 64 (fitted).
  const filled = hiddenSize / (hiddenSize + 64);
  if (machine.device === 'cuda') return perGpu * ranksAHost(machine) * filled;
  // Small models do not fill many cores: beyond eight, each adds half as much.
  const cores = Math.min(machine.cores, 8) + Math.max(0, machine.cores - 8) / 2;
  return cores * perCore[machine.instructionSet] * filled;
}

/** bf16 pays where the units for it exist; elsewhere it is emulated and slower than fp32. */
export function bestPrecision(machine: Machine): 'bf16' | 'fp32' {
  const fast = machine.instructionSet === 'amx' || machine.instructionSet === 'avx512_bf16';
  return machine.device === 'cuda' || fast ? 'bf16' : 'fp32';
}

/** Time to start a trainer: interpreter, libraries, model; in milliseconds. */
export const trainerStartMs = 7_000;

/** That the time was planned by a measurement. */
export function paceReasons(pace: number | undefined): Reason[] {
  if (pace === undefined) return [];
  return [
    {
      choice: 'speed',
      value: `${pace.toFixed(2)} of the estimated time for a step`,
      reason:
        'measured on this machine in a few steps of this recipe, whose weights were thrown away',
      source: 'calibration, recorded under machines/',
    },
  ];
}
