/** A 7B model on 64 GPUs and a corpus of terabytes, on paper: the arithmetic behind docs/scale.md, held against published memory figures. */
import type { PlainShape } from '../config/recipe.ts';
import { z } from 'zod';
import { gpuMemory, planOnCluster, type Cluster, type ClusterPlan } from '../recipes/cluster.ts';
import { countParameters } from '../recipes/shapes.ts';
import { defineBench, say } from './support/bench.ts';
import { dataBounds, dataOnPaper, renderBounds, renderData } from './support/data-at-scale.ts';

const llama8b: PlainShape = {
  family: 'llama',
  vocabSize: 128_256,
  hiddenSize: 4096,
  intermediateSize: 14_336,
  numLayers: 32,
  numHeads: 32,
  numKvHeads: 8,
  contextLength: 8192,
  ropeTheta: 500_000,
  tieEmbeddings: false,
};
const shape7b: PlainShape = { ...llama8b, vocabSize: 32_768, contextLength: 4096 };
const shape70b: PlainShape = {
  ...shape7b,
  hiddenSize: 8192,
  intermediateSize: 28_672,
  numLayers: 80,
  numHeads: 64,
};

/** Gibibytes a GPU that torchtitan reports for Llama 3.1 8B, 2 rows a GPU, selective recomputation, compiled. */
const published = [
  { gpus: 8, gib: 77.0 },
  { gpus: 128, gib: 62.0 },
];

/** Hosts of eight H100, with the rates that docs/scale.md names and their sources. */
export function clusterOf(hosts: number, uploadMbPerS: number, usdPerGpuHour: number): Cluster {
  return {
    hosts,
    gpusPerHost: 8,
    gpu: {
      name: 'H100 SXM 80 GB',
      memoryBytes: 80e9,
      peakFlops: 989e12,
      linkBytesPerS: 450e9,
      networkBytesPerS: 50e9,
      hostBytesPerS: 20e9,
      usdPerHour: usdPerGpuHour,
      hoursPerFailure: 50_675,
    },
    uploadBytesPerS: uploadMbPerS * 1e6,
    usdPerGbKept: 0.023,
  };
}

const settings = z.strictObject({
  uploadMb: z.number().positive().default(137).describe('MB a second from a host to S3'),
  usd: z.number().positive().default(4.92).describe('of a GPU for an hour'),
  mfu: z.number().positive().max(1).default(0.34).describe('share of the peak'),
});

/** Rates of preparing text, as `npm run bench -- preprocess --part workers` measured them: 60 MB, one worker on one core, with the stack. */
export const dataRates = z.strictObject({
  ingestMb: z.number().positive().default(15).describe('MB of text a second into a dataset'),
  coreMb: z.number().positive().default(4.4).describe('MB a second of a core to token shards'),
  usdPerCoreHour: z.number().positive().default(0.0446).describe('of a core for an hour'),
});

/** The plans that docs/scale.md sets side by side. */
export function plansOnPaper({
  uploadMb,
  usd,
  mfu,
}: z.infer<typeof settings>): [string, ClusterPlan][] {
  const plan = (shape: PlainShape, hosts: number, tensorParallel?: number) =>
    planOnCluster(
      {
        shape,
        tokens: 20 * countParameters(shape),
        batchTokens: 2 ** 22,
        lossChunk: 512,
        mfu,
        ...(tensorParallel === undefined ? {} : { tensorParallel }),
      },
      clusterOf(hosts, uploadMb, usd),
    );
  return [
    ['7B, 64 GPUs', plan(shape7b, 8)],
    ['the same, each matrix over 2', plan(shape7b, 8, 2)],
    ['the same, each matrix over 8', plan(shape7b, 8, 8)],
    ['7B, 8 GPUs', plan(shape7b, 1)],
    ['70B, 64 GPUs', plan(shape70b, 8)],
    ['70B, 512 GPUs', plan(shape70b, 64)],
  ];
}

const rows: [string, (plan: ClusterPlan) => string][] = [
  ['parameters', ({ numParameters }) => `${(numParameters / 1e9).toFixed(2)} G`],
  ['data × tensor parallel', (plan) => `${plan.dataParallel} × ${plan.tensorParallel}`],
  ['computed twice', ({ recompute }) => recompute],
  ['rows at once × times a step', (plan) => `${plan.microBatch} × ${plan.accumulation}`],
  ['a GPU holds, GB', ({ memory }) => gb(memory.totalBytes)],
  ['  weights, gradients, moments', ({ memory }) => gb(memory.statesBytes)],
  ['  activations', ({ memory }) => gb(memory.activationsBytes)],
  ['a step, s', ({ stepS }) => stepS.toFixed(2)],
  ['  sharding, behind the arithmetic', ({ shardingS }) => shardingS.toFixed(2)],
  ['  sums within a matrix', ({ tensorS }) => tensorS.toFixed(2)],
  ['tokens a second and GPU', (plan) => grouped(plan.tokensPerSPerGpu)],
  ['steps', ({ numSteps }) => grouped(numSteps)],
  ['days', ({ hours }) => (hours / 24).toFixed(1)],
  ['USD', ({ usd }) => grouped(usd)],
  ['a checkpoint, GB', ({ checkpoint }) => gb(checkpoint.bytes)],
  ['  to S3, s', ({ checkpoint }) => checkpoint.uploadS.toFixed(0)],
  ['  every, min', ({ checkpoint }) => (checkpoint.everyS / 60).toFixed(0)],
  ['  stall, share of time', ({ checkpoint }) => `${(checkpoint.stallShare * 100).toFixed(3)} %`],
  [
    '  number, and USD a month for all',
    (plan) => `${plan.checkpoint.number}, ${grouped(plan.checkpoint.usdKept)}`,
  ],
  ['failures to expect', ({ failures }) => failures.toFixed(2)],
  [
    'lost at most, min and USD',
    (plan) => `${(plan.lostAtMostS / 60).toFixed(0)}, ${grouped(plan.lostAtMostUsd)}`,
  ],
];

/** As a table of Markdown: a column for each plan. */
export function renderPlans(plans: [string, ClusterPlan][]): string[] {
  return [
    `| | ${plans.map(([title]) => title).join(' | ')} |`,
    `|---|${plans.map(() => '---:|').join('')}`,
    ...rows.map(
      ([name, of]) => `| ${name.trim()} | ${plans.map(([, plan]) => of(plan)).join(' | ')} |`,
    ),
  ];
}

export const scale = defineBench({
  name: 'scale',
  summary:
    'a 7B model on 64 GPUs and a corpus of terabytes, on paper, held against published memory figures',
  settings: settings.extend(dataRates.shape),
  async measure(given) {
    const plans = plansOnPaper(given);
    for (const line of renderPlans(plans)) say(line);
    const data = dataOnPaper(given);
    for (const line of ['', ...renderData(data), '', ...renderBounds(given)]) say(line);
    const memory = published.map(({ gpus, gib }) => {
      const job = { shape: llama8b, recompute: 'selective' as const, lossChunk: Infinity };
      const { totalBytes } = gpuMemory(job, { gpus, tensorParallel: 1, microBatch: 2 });
      return { gpus, gib: totalBytes / 2 ** 30, published: gib };
    });
    return {
      figures: {
        plans: Object.fromEntries(plans),
        memory,
        data: Object.fromEntries(data),
        dataBounds: dataBounds(given),
      },
      bounds: memory.map(({ gpus, gib, published: theirs }) => ({
        name: `memory of a GPU against torchtitan’s, 8B on ${gpus}`,
        value: gib / theirs,
        min: 0.9,
        max: 1.1,
      })),
    };
  },
});

function gb(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

function grouped(amount: number): string {
  return Math.round(amount).toLocaleString('en-US');
}
