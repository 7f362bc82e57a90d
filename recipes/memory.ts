/** What training holds in memory, and how many sequences at once a machine has room for. */
import {
  families,
  type Machine,
  type ModelShape,
  type PhaseRecipe,
  type PlainShape,
  type Reason,
} from '../config/recipe.ts';
import { maskRate } from './masked-shapes.ts';
import { countParameters } from './shapes.ts';

export type MemoryLoad = Pick<PhaseRecipe, 'phase' | 'contextLength' | 'precision' | 'lora'> & {
  shape: ModelShape;
  /** Ranks among which weights, gradients and optimizer are parted; left out, each holds all. */
  parts?: number | undefined;
};

const gib = 2 ** 30;
/** Interpreter and libraries of the trainer, before there is a model. */
const processBytes = 0.5 * gib;
/** Server, store, workers and the page cache of a stack that stands beside the trainer. */
const stackBytes = gib;
/** The rest is for what the estimate misses: peaks were 0.8 to 0.97 of it (docs/log.md), and for the page cache. */
const usable = 0.75;
/** Of a GPU, which nothing else uses: the rest is for fragments and buffers of the libraries. */
const usableOfGpu = 0.9;
/** Rows of logits that stand at once. */
const lossChunk = 512;

/** What one trainer may take on this machine. */
export function availableBytes({
  device,
  gpu,
  memoryBytes,
}: Pick<Machine, 'memoryBytes'> & Partial<Pick<Machine, 'device' | 'gpu'>>): number {
  if (device === 'cuda' && gpu !== undefined) return gpu.memoryBytes * usableOfGpu;
  return Math.max(0, memoryBytes * usable - stackBytes);
}

/** What training takes with so many sequences at once. */
export function trainingBytes({ shape, ...recipe }: MemoryLoad, rows: number): number {
  const { phase, contextLength, precision, lora, parts = 1 } = recipe;
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
  // Parted, a rank gathers what it computes with: two layers and the embeddings, with their gradients in 32 bits.
  const isTied = shape.family === 'modernbert' || shape.tieEmbeddings;
  const embeddings = vocabSize * hiddenSize * (isTied ? 1 : 2);
  const gathered = embeddings + (2 * (parameters - embeddings)) / numLayers;
  const copies = parts === 1 ? parameters * word : gathered * (word + 4);
  const states = (trained * 16) / parts + frozen + copies + reference;
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
  // How long the rows of documents are is no wish of a pipeline file.
  if (shorter !== undefined && load.phase !== 'pretrain')
    ways.push(`chats of at most ${shorter} tokens (maxTokens of data.conversations)`);
  const share = [0.5, 0.25, 0.1, 0.05, 0.01].find((part) =>
    fits({ ...load, shape: scaled(shape, part) }),
  );
  if (share !== undefined) {
    const size = countParameters(scaled(shape, share));
    ways.push(`a base model of about ${(size / 1e6).toFixed(0)}M parameters`);
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
  {
    machine,
    limit,
    what,
    ranks = 1,
    parallelism,
  }: { machine: Machine; limit: number | undefined; what: string } & Ranks,
): Recipe {
  const rows = recipe.batchSize / recipe.worldSize;
  const load = { ...recipe, shape };
  const available = availableBytes(machine);
  const whole = fittingMicroBatch(load, rows, available);
  const isParted =
    canPart({ ...recipe, shape }) &&
    (parallelism === 'fsdp2' || (parallelism === undefined && whole === null));
  const parts = isParted ? ranks : 1;
  const fitting = parts === 1 ? whole : fittingMicroBatch({ ...load, parts }, rows, available);
  // Chats are as long as the longest one only now and then: a row that may not fit is tried, where the model itself fits.
  const isTried = recipe.phase !== 'pretrain' && trainingBytes({ ...load, parts }, 0) < available;
  if (fitting === null && !isTried) {
    throw doesNotFit({ ...load, parts }, machine, what);
  }
  const microBatchSize = Math.min(fitting ?? 1, limit ?? rows);
  return {
    ...recipe,
    ...(microBatchSize < rows && { microBatchSize }),
    ...(parts > 1 && { parallelism: 'fsdp2' as const }),
  };
}

/** How many processes train together, and how they share the weights, where that was asked for. */
export interface Ranks {
  /** Left out, one. */
  ranks?: number | undefined;
  parallelism?: PhaseRecipe['parallelism'];
}

/** Whether the trainer can part the weights: it knows the layers of its own families, and adapters are small. */
export function canPart({ phase, lora, shape }: MemoryLoad): boolean {
  return phase === 'pretrain' && lora === undefined && isKnown(shape.family);
}

function isKnown(family: string): boolean {
  return (families as readonly string[]).includes(family);
}

/** Why a phase computes its batches in parts; nothing where each is computed whole. */
export function memoryReasons(
  phases: readonly (PhaseRecipe | null)[],
  shape: ModelShape,
  machine: Machine,
  ranks = 1,
): Reason[] {
  return phases.flatMap((recipe) => {
    if (recipe === null || recipe.microBatchSize === undefined) return [];
    const { phase, microBatchSize, batchSize, worldSize } = recipe;
    const rows = batchSize / worldSize;
    const parts = recipe.parallelism === 'fsdp2' ? ranks : 1;
    const whole = trainingBytes({ ...recipe, shape, parts }, rows);
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
