/** What training holds in memory, and how many sequences at once a machine has room for. */
import type { Machine, ModelShape, PhaseRecipe, PlainShape, Reason } from '../config/recipe.ts';
import { maskRate } from './masked-shapes.ts';
import { countParameters } from './shapes.ts';

export type MemoryLoad = Pick<PhaseRecipe, 'phase' | 'contextLength' | 'precision' | 'lora'> & {
  shape: ModelShape;
};

const gib = 2 ** 30;
/** Interpreter and libraries of the trainer, before there is a model. */
const processBytes = 0.5 * gib;
/** Server, store, workers and the page cache of a stack that stands beside the trainer. */
const stackBytes = gib;
/** The rest is for what the estimate misses: peaks were 0.8 to 0.97 of it (docs/log.md), and for the page cache. */
const usable = 0.75;
/** Rows of logits that stand at once. */
const lossChunk = 512;

/** What one trainer may take on this machine. */
export function availableBytes({ memoryBytes }: Pick<Machine, 'memoryBytes'>): number {
  return Math.max(0, memoryBytes * usable - stackBytes);
}

/** What training takes with so many sequences at once. */
export function trainingBytes({ shape, ...recipe }: MemoryLoad, rows: number): number {
  const { phase, contextLength, precision, lora } = recipe;
  const { hiddenSize, numLayers, vocabSize } = shape;
  const { intermediateSize, numHeads, numKvHeads, headDim } = layerOf(shape);
  const width = headDim ?? hiddenSize / numHeads;
  const word = precision === 'bf16' ? 2 : 4;
  const parameters = countParameters(shape);
  const [query, kv] = [width * numHeads, width * numKvHeads];
  const trained =
    lora === undefined
      ? parameters
      : numLayers * lora.rank * (10 * hiddenSize + 3 * intermediateSize);
  // Weights, gradients and two moments of what is trained in 32 bits; what is frozen; copies as the products take them.
  const frozen = lora === undefined ? 0 : parameters * word;
  const reference = phase === 'dpo' && lora === undefined ? parameters * 4 : 0;
  const states = trained * 16 + frozen + parameters * word + reference;
  const aligns = phase === 'dpo' || phase === 'orpo';
  const tokens = rows * contextLength * (aligns ? 2 : 1);
  const perLayer =
    8 * hiddenSize +
    word *
      (2 * hiddenSize + 5 * query + 4 * kv + 4 * intermediateSize + 2 * numHeads * contextLength);
  // Alignment scores its answers at once, and so does a model's own pass; else it is done in chunks.
  const whole = aligns || shape.family === 'transformers';
  const scored = shape.family === 'modernbert' ? tokens * maskRate : Math.min(tokens, lossChunk);
  const logits = (whole ? tokens : scored) * vocabSize * 8;
  const head = lora === undefined ? vocabSize * hiddenSize * 4 : 0;
  return processBytes + states + tokens * numLayers * perLayer + logits + head;
}

/** What a layer is made of; of an architecture that was given, what is usual for its width. */
function layerOf(
  shape: ModelShape,
): Pick<PlainShape, 'intermediateSize' | 'numHeads' | 'numKvHeads' | 'headDim'> {
  if (shape.family === 'modernbert') return { ...shape, numKvHeads: shape.numHeads };
  if (shape.family !== 'transformers') return shape;
  const numHeads = Math.max(1, Math.round(shape.hiddenSize / 64));
  return { intermediateSize: 4 * shape.hiddenSize, numHeads, numKvHeads: numHeads };
}

/** How many sequences at once there is room for; null where there is none for a single one. */
export function fittingMicroBatch(
  load: MemoryLoad,
  batchSize: number,
  available: number,
): number | null {
  for (let rows = batchSize; ; rows = Math.floor(rows / 2)) {
    if (trainingBytes(load, rows) <= available) return rows;
    if (rows === 1) return null;
  }
}

/** A recipe that this machine has no room for: by how much, and what would fit. */
export class DoesNotFit extends Error {
  override readonly name = 'DoesNotFit';
}

/** E.g. `12.3 GB`. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** Says what is too much by how much, and what would fit. */
export function doesNotFit(load: MemoryLoad, machine: Machine, what: string): DoesNotFit {
  const available = availableBytes(machine);
  const needed = trainingBytes(load, 1);
  const { shape, contextLength } = load;
  const ways: string[] = [];
  const adapters = { ...load, lora: { rank: 16, alpha: 32, mergeShare: 1 } };
  const fits = (other: MemoryLoad) => trainingBytes(other, 1) <= available;
  const adaptable = shape.family !== 'transformers' && shape.family !== 'modernbert';
  if (load.lora === undefined && adaptable && fits(adapters)) {
    ways.push(`LoRA (goal: adapt), which takes ${gigabytes(trainingBytes(adapters, 1))}`);
  }
  const shorter = [256, 128, 64].find(
    (length) => length < contextLength && fits({ ...load, contextLength: length }),
  );
  if (shorter !== undefined) ways.push(`rows of ${shorter} tokens`);
  const share = [0.5, 0.25, 0.1, 0.05, 0.01].find((part) =>
    fits({ ...load, shape: scaled(shape, part) }),
  );
  if (share !== undefined) {
    const size = countParameters(scaled(shape, share));
    ways.push(`a model of about ${(size / 1e6).toFixed(0)}M parameters`);
  }
  const machineBytes = (needed + stackBytes) / usable;
  ways.push(`a machine with ${gigabytes(machineBytes)} of memory`);
  return new DoesNotFit(
    `${what} needs ${gigabytes(needed)} of memory for one row of ${contextLength} tokens, and this machine has ` +
      `${gigabytes(available)} for it (of ${gigabytes(machine.memoryBytes)}): ${gigabytes(needed - available)} too little. ` +
      `What would fit: ${ways.join(', ')}. Nothing was trained.`,
  );
}

/** A shape of the same kind with that share of the parameters, in width and depth. */
function scaled(shape: ModelShape, share: number): ModelShape {
  const side = Math.cbrt(share);
  if (shape.family === 'transformers') {
    return {
      ...shape,
      hiddenSize: Math.round(shape.hiddenSize * side),
      numLayers: Math.max(1, Math.round(shape.numLayers * side)),
      numParameters: Math.round(shape.numParameters * share),
    };
  }
  return {
    ...shape,
    hiddenSize: Math.max(
      shape.numHeads,
      Math.round((shape.hiddenSize * side) / shape.numHeads) * shape.numHeads,
    ),
    intermediateSize: Math.ceil(shape.intermediateSize * side),
    numLayers: Math.max(1, Math.round(shape.numLayers * side)),
  };
}

/** Smaller micro-batches where the machine asks for them; the recipe as it is where it does not. */
export function inMemory<Recipe extends PhaseRecipe>(
  recipe: Recipe,
  shape: ModelShape,
  { machine, limit, what }: { machine: Machine; limit: number | undefined; what: string },
): Recipe {
  const rows = recipe.batchSize / recipe.worldSize;
  const load = { ...recipe, shape };
  const fitting = fittingMicroBatch(load, rows, availableBytes(machine));
  // Chats are as long as the longest one only now and then: a row that may not fit is tried.
  if (fitting === null && recipe.phase === 'pretrain') throw doesNotFit(load, machine, what);
  const microBatchSize = Math.min(fitting ?? 1, limit ?? rows);
  return microBatchSize < rows ? { ...recipe, microBatchSize } : recipe;
}

/** Why a phase computes its batches in parts; nothing where each is computed whole. */
export function memoryReasons(
  phases: readonly (PhaseRecipe | null)[],
  shape: ModelShape,
  machine: Machine,
): Reason[] {
  return phases.flatMap((recipe) => {
    if (recipe === null || recipe.microBatchSize === undefined) return [];
    const { phase, microBatchSize, batchSize, worldSize } = recipe;
    const rows = batchSize / worldSize;
    const whole = trainingBytes({ ...recipe, shape }, rows);
    const available = availableBytes(machine);
    const reason =
      whole > available
        ? `the whole batch would take ${gigabytes(whole)}, the machine has ${gigabytes(available)} for it`
        : 'this machine ran out of memory with more of them at once';
    return [
      {
        choice: phase === 'pretrain' ? 'micro-batch' : `micro-batch of ${phase}`,
        value: `${microBatchSize} of ${rows} sequences at once`,
        reason: `${reason}; gradients are summed, so that the step is that of the whole batch but for rounding`,
        source:
          whole > available ? 'memory by shape, recipes/memory.ts' : 'measured on this machine',
      },
    ];
  });
}
