/**
 * What a model would take on many GPUs, on paper: how it is split, what a GPU holds, how long a run lasts, what
 * it costs and what a failure loses. Pure arithmetic over published figures and rates that are given.
 */
import type { PlainShape } from '../config/recipe.ts';
import { countParameters, trainingFlopsPerToken } from './shapes.ts';

/** Equal hosts of equal GPUs. */
export interface Cluster {
  hosts: number;
  gpusPerHost: number;
  gpu: {
    name: string;
    memoryBytes: number;
    /** Of dense bf16 products, a second. */
    peakFlops: number;
    /** To another GPU of the host, one way, bytes a second. */
    linkBytesPerS: number;
    /** To a GPU of another host, one way, bytes a second. */
    networkBytesPerS: number;
    /** To the memory of its host, bytes a second. */
    hostBytesPerS: number;
    usdPerHour: number;
    /** Hours of one GPU for each failure that ends a training process. */
    hoursPerFailure: number;
  };
  /** From a host to S3, bytes a second. */
  uploadBytesPerS: number;
  /** Of a gigabyte in S3 for as long as checkpoints are kept. */
  usdPerGbKept: number;
}

/** What of the forward pass is computed a second time rather than kept. */
export type Recompute = 'none' | 'selective' | 'full';

export interface ClusterJob {
  shape: PlainShape;
  /** Tokens to train on. */
  tokens: number;
  /** Of one step, over all GPUs. */
  batchTokens: number;
  /** Left out, as little as fits. */
  recompute?: Recompute;
  /** Tokens of which the logits are held at once; Infinity, all of a micro-batch. */
  lossChunk: number;
  /** Share of the peak that the arithmetic reaches, what is computed a second time not counted. */
  mfu: number;
  /** Sequences a GPU trains on at once; left out, what is quickest. */
  microBatch?: number;
  /** GPUs among which each matrix is split; left out, what is quickest. */
  tensorParallel?: number;
}

export interface GpuMemory {
  /** Weights, gradients and two moments in fp32: 16 bytes a parameter, over all GPUs (Rajbhandari et al. 2020, stage 3). */
  statesBytes: number;
  /** Two layers and the embeddings in bf16, gathered for use. */
  gatheredBytes: number;
  activationsBytes: number;
  logitsBytes: number;
  totalBytes: number;
}

/** How a step is divided among the GPUs, and what that takes. */
export interface Layout {
  tensorParallel: number;
  /** GPUs over which data, weights and optimizer are sharded (FSDP2). */
  dataParallel: number;
  recompute: Recompute;
  microBatch: number;
  /** Micro-batches a step. */
  accumulation: number;
  memory: GpuMemory;
  arithmeticS: number;
  /** Gathering weights and scattering gradients, which hides behind the arithmetic. */
  shardingS: number;
  /** Sums between the GPUs that share a matrix, which the arithmetic waits for. */
  tensorS: number;
  stepS: number;
}

export interface ClusterPlan extends Layout {
  numParameters: number;
  gpus: number;
  numSteps: number;
  tokensPerSPerGpu: number;
  hours: number;
  usd: number;
  checkpoint: {
    bytes: number;
    /** Training stands while the states go to the memory of the host. */
    stallS: number;
    /** A host's part to S3, while training goes on. */
    uploadS: number;
    everyS: number;
    number: number;
    stallShare: number;
    /** Of all of them, for as long as they are kept. */
    usdKept: number;
  };
  failures: number;
  /** Of one failure: half of an interval with its upload, and the restart. */
  lostS: number;
  /** At most: a whole interval with its upload, and the restart. */
  lostAtMostS: number;
  lostAtMostUsd: number;
}

/** From the loss of a process to the first step of the next generation. */
const restartS = 120;
/** Share of memory that a plan may fill: the rest is for fragments and buffers of the libraries. */
const fillable = 0.9;
const longestIntervalS = 3600;
const recomputes = ['none', 'selective', 'full'] as const;
/** Arithmetic against that of a step that computes nothing twice; selective leaves out what costs much. */
const computedTwice = { none: 1, selective: 1, full: 4 / 3 };

/** How a job is laid out on a cluster so that a step is quickest; throws where it fits in no way, and says by how much. */
export function planOnCluster(job: ClusterJob, cluster: Cluster): ClusterPlan {
  const { shape } = job;
  const { gpu } = cluster;
  const gpus = cluster.hosts * cluster.gpusPerHost;
  const numParameters = countParameters(shape);
  const layout = quickest(job, cluster);
  const { accumulation, dataParallel, microBatch, stepS } = layout;
  const tokensPerStep = accumulation * dataParallel * microBatch * shape.contextLength;
  const numSteps = Math.ceil(job.tokens / tokensPerStep);
  const usdPerS = (gpus * gpu.usdPerHour) / 3600;

  const bytes = 12 * numParameters;
  const stallS = bytes / gpus / gpu.hostBytesPerS;
  const uploadS = bytes / cluster.hosts / cluster.uploadBytesPerS;
  const usdOfOne = (bytes / 1e9) * cluster.usdPerGbKept;
  const betweenFailuresS = (gpu.hoursPerFailure * 3600) / gpus;
  // Young 1974, where what a checkpoint costs is its stall and its place in S3; no sooner than the last one is there.
  const young = Math.sqrt(2 * (stallS + usdOfOne / usdPerS) * betweenFailuresS);
  const everyS = Math.max(Math.min(young, longestIntervalS), 2 * uploadS);
  const trainingS = numSteps * stepS * (1 + stallS / everyS);
  const failures = trainingS / betweenFailuresS;
  const lostS = everyS / 2 + uploadS + restartS;
  const lostAtMostS = everyS + uploadS + restartS;
  const totalS = trainingS + failures * lostS;
  const number = Math.floor(trainingS / everyS);
  return {
    ...layout,
    numParameters,
    gpus,
    numSteps,
    tokensPerSPerGpu: tokensPerStep / stepS / gpus,
    hours: totalS / 3600,
    usd: totalS * usdPerS,
    checkpoint: {
      bytes,
      stallS,
      uploadS,
      everyS,
      number,
      stallShare: stallS / everyS,
      usdKept: number * usdOfOne,
    },
    failures,
    lostS,
    lostAtMostS,
    lostAtMostUsd: lostAtMostS * usdPerS,
  };
}

/** Of all layouts that fit, the one whose step is quickest; of equal ones that which splits and computes again the least. */
function quickest(job: ClusterJob, cluster: Cluster): Layout {
  const { shape, batchTokens } = job;
  const gpus = cluster.hosts * cluster.gpusPerHost;
  const room = cluster.gpu.memoryBytes * fillable;
  const isPossible = (t: number) =>
    t <= cluster.gpusPerHost && gpus % t === 0 && shape.numKvHeads % t === 0;
  const tensors = job.tensorParallel === undefined ? [1, 2, 4, 8, 16] : [job.tensorParallel];
  const layouts = tensors.filter(isPossible).flatMap((tensorParallel) => {
    const rows = Math.floor((batchTokens * tensorParallel) / gpus / shape.contextLength);
    const batches = job.microBatch === undefined ? [16, 8, 4, 2, 1] : [job.microBatch];
    return batches
      .filter((microBatch) => microBatch <= rows)
      .flatMap((microBatch) =>
        (job.recompute === undefined ? recomputes : [job.recompute]).map((recompute) =>
          layOut({ ...job, recompute }, cluster, { gpus, tensorParallel, microBatch }),
        ),
      );
  });
  if (layouts.length === 0) {
    throw new RangeError(
      `${batchTokens} tokens a step are too few for ${gpus} GPUs, expected at least ${(gpus * shape.contextLength) / Math.max(...tensors.filter(isPossible))}, rows of ${shape.contextLength}`,
    );
  }
  const fitting = layouts.filter(({ memory }) => memory.totalBytes <= room);
  if (fitting.length === 0) {
    const least = Math.min(...layouts.map(({ memory }) => memory.totalBytes));
    const gb = (bytes: number) => (bytes / 1e9).toFixed(0);
    throw new RangeError(
      `a GPU would hold ${gb(least)} GB, expected at most ${gb(room)} of its ${gb(cluster.gpu.memoryBytes)}: ${Math.ceil((gpus * least) / room)} GPUs, shorter rows or a smaller model would do`,
    );
  }
  return fitting.reduce((best, one) => (one.stepS < best.stepS ? one : best));
}

function layOut(
  job: ClusterJob & { recompute: Recompute },
  { gpu }: Cluster,
  split: { gpus: number; tensorParallel: number; microBatch: number },
): Layout {
  const { shape, recompute } = job;
  const { gpus, tensorParallel, microBatch } = split;
  const dataParallel = gpus / tensorParallel;
  const tokensAtOnce = dataParallel * microBatch * shape.contextLength;
  const accumulation = Math.max(1, Math.round(job.batchTokens / tokensAtOnce));
  const flops = accumulation * tokensAtOnce * trainingFlopsPerToken(shape);
  const arithmeticS = (flops * computedTwice[recompute]) / (gpus * gpu.peakFlops * job.mfu);
  const shardingS =
    (accumulation * shardingBytes(countParameters(shape), tensorParallel, dataParallel)) /
    gpu.networkBytesPerS;
  const tensorS =
    (accumulation * tensorBytes(shape, tensorParallel, microBatch)) / gpu.linkBytesPerS;
  return {
    tensorParallel,
    dataParallel,
    recompute,
    microBatch,
    accumulation,
    memory: gpuMemory(job, split),
    arithmeticS,
    shardingS,
    tensorS,
    stepS: Math.max(arithmeticS, shardingS) + tensorS,
  };
}

/** What a GPU holds while it trains; the largest moment, at the end of the forward pass. */
export function gpuMemory(
  { shape, recompute, lossChunk }: Required<Pick<ClusterJob, 'shape' | 'recompute' | 'lossChunk'>>,
  {
    gpus,
    tensorParallel,
    microBatch,
  }: { gpus: number; tensorParallel: number; microBatch: number },
): GpuMemory {
  const { hiddenSize: h, intermediateSize: i, numHeads, numKvHeads, numLayers, vocabSize } = shape;
  const kv = (h / numHeads) * numKvHeads;
  const tokens = microBatch * shape.contextLength;
  const embedding = vocabSize * h;
  const numParameters = countParameters(shape);
  const layer = (numParameters - embedding * (shape.tieEmbeddings ? 1 : 2)) / numLayers;
  // bf16 inputs of the products, norms and attention of a gated layer (as Korthikanti et al. 2022, for their shape).
  const whole = 12 * h + 4 * kv + 8 * i;
  const kept = { none: whole, selective: whole / 2, full: 2 * h }[recompute];
  const activations = numLayers * kept + (recompute === 'none' ? 0 : whole);
  const memory = {
    statesBytes: (16 * numParameters) / gpus,
    gatheredBytes: (2 * (2 * layer + embedding)) / tensorParallel,
    activationsBytes: (tokens * activations) / tensorParallel,
    // Logits in bf16 and fp32, and their gradient.
    logitsBytes: (Math.min(tokens, lossChunk) * vocabSize * 10) / tensorParallel,
  };
  return { ...memory, totalBytes: Object.values(memory).reduce((sum, bytes) => sum + bytes, 0) };
}

/** Of one micro-batch and GPU: weights gathered twice in bf16, gradients scattered once in fp32. */
function shardingBytes(
  numParameters: number,
  tensorParallel: number,
  dataParallel: number,
): number {
  return ((8 * numParameters) / tensorParallel) * (1 - 1 / dataParallel);
}

/** Of one micro-batch and GPU: two sums forward and two back a layer, each sent twice (Shoeybi et al. 2019). */
function tensorBytes(shape: PlainShape, tensorParallel: number, microBatch: number): number {
  const sum = 2 * microBatch * shape.contextLength * shape.hiddenSize;
  return 4 * shape.numLayers * 2 * sum * (1 - 1 / tensorParallel);
}
