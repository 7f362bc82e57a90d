/** How fast a machine trains, from recorded measurements: the same machine always plans the same. */
import { ranksAHost, type Machine, type ModelShape, type Reason } from '../config/recipe.ts';

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
  return peakSpeed(machine) * (hiddenSize / (hiddenSize + 64));
}

/** That of a model so wide that nothing idles. */
function peakSpeed(machine: Machine): number {
  if (machine.device === 'cuda') return perGpu * ranksAHost(machine);
  return threadsOf(machine) * perCore[machine.instructionSet];
}

/** Models of the planned sizes do not fill more: a thread beyond would wait for the others at every product. */
const mostThreads = 8;

/** CPU threads of a trainer that has the machine for itself: what is planned is what is used. */
export function threadsOf({ cores }: Pick<Machine, 'cores'>): number {
  return Math.min(cores, mostThreads);
}

/** Matrices of a layer that Muon moves: four of attention, three of the feed-forward. */
const matricesPerLayer = 7;
/** What each costs a step, whatever its size; measured (docs/log.md). */
const msPerMatrix = 0.8;
/** Products of matrices alone against the whole of a training; measured (docs/log.md). */
const productSpeed = 2.2;

/** What Muon takes of a step, whatever its batch: five iterations of Newton and Schulz for each matrix (Jordan et al. 2024). */
export function muonMs(machine: Machine, shape: ModelShape): number {
  // What is not of our families is moved by AdamW.
  if (shape.family === 'transformers') return 0;
  const { hiddenSize: d, intermediateSize, numLayers } = shape;
  const iteration = (long: number) => 4 * d * d * long + 2 * d ** 3;
  const flops = 5 * numLayers * (4 * iteration(d) + 3 * iteration(intermediateSize));
  const seconds = flops / (productSpeed * peakSpeed(machine));
  return seconds * 1000 + numLayers * matricesPerLayer * msPerMatrix;
}

/** bf16 pays where the units for it exist; elsewhere it is emulated and slower than fp32. */
export function bestPrecision(machine: Machine): 'bf16' | 'fp32' {
  const fast = machine.instructionSet === 'amx' || machine.instructionSet === 'avx512_bf16';
  return machine.device === 'cuda' || fast ? 'bf16' : 'fp32';
}

/** Time to start a trainer: interpreter, libraries, a small model; in milliseconds. */
export const trainerStartMs = 7_000;
/** Weights that are fetched from the store, verified and loaded; measured with 538 MB on one disk (docs/log.md). */
export const readBytesPerS = 125e6;
/** Weights that are written, brought to the disk, hashed and stored; measured in the same run. */
export const writeBytesPerS = 30e6;

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
