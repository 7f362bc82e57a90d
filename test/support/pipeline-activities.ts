/** Activities with which the real workflows run at once and without a trainer: a base model is found, evaluated and registered. */
import type { EvaluateActivities } from '../../activities/evaluate.ts';
import type { ExportActivities } from '../../activities/export.ts';
import type { IngestActivities } from '../../activities/ingest.ts';
import type { PlanActivities } from '../../activities/plan.ts';
import type { PreprocessActivities } from '../../activities/preprocess.ts';
import type { DeployRequest, ReleaseActivities } from '../../activities/release.ts';
import type { TrainActivities } from '../../activities/train.ts';
import type { Recipe } from '../../config/recipe.ts';
import { recipe } from './recipes.ts';

const digest = (letter: string) => letter.repeat(64);

/** What a test may hold back or change, and what was asked for. */
export interface PipelineWorld {
  deployed: DeployRequest[];
  registered: { run: string; name: string }[];
  /** Activities wait for it where they are named. */
  gates: Partial<Record<'plan' | 'train', Promise<unknown>>>;
  /** In place of that of a base model. */
  recipe?: Recipe;
}

type Fakes = PlanActivities &
  ReleaseActivities &
  Pick<TrainActivities, 'findTrainedModel'> &
  ExportActivities &
  EvaluateActivities &
  IngestActivities &
  Pick<PreprocessActivities, 'findCorpus' | 'findPreparedCorpus'>;

export function pipelineActivities(): { activities: Omit<Fakes, Unused>; world: PipelineWorld } {
  const world: PipelineWorld = { deployed: [], registered: [], gates: {} };
  const summary = {
    numDocuments: 10,
    kept: 10,
    dropped: {},
    redacted: {},
    numTokens: 200_000,
    bytes: 700_000,
    vocabSize: 512,
    numShards: 1,
    numHeldOut: 1,
    heldOutBytes: 1000,
    numTrainQuestions: 0,
    numPreferences: 0,
    numQuestions: 0,
    numAmbiguous: 0,
  };
  const activities: Omit<Fakes, Unused> = {
    recordSpecification: async () => undefined,
    ingestCorpus: async ({ name }) => ({
      dataset: { name, version: 1, digest: digest('d') },
      numDocuments: 10,
      bytes: 700_000,
      dropped: {},
      reused: false,
    }),
    findDataset: async ({ dataset }) => ({
      dataset: { name: dataset.split('@')[0]!, version: 3, digest: digest('d') },
      numDocuments: 10,
      bytes: 700_000,
      dropped: {},
      reused: true,
    }),
    findCorpus: async () => ({
      corpus: digest('c'),
      numShards: 1,
      found: { corpus: digest('c'), reused: true, summary },
    }),
    findPreparedCorpus: async ({ corpus }) => ({ corpus, reused: true, summary }),
    planTraining: async () => {
      await world.gates.plan;
      return world.recipe ?? { ...recipe, sft: null, dpo: null };
    },
    findTrainedModel: async ({ recipe: { phase, numSteps } }) => {
      await world.gates.train;
      const model = {
        phase,
        stage: digest('e'),
        weights: digest('f'),
        numSteps,
        numTokens: 1000,
        finalLoss: 3,
        reused: true,
      };
      return { stage: digest('e'), model };
    },
    exportOnnx: async () => ({
      stage: digest('1'),
      bundle: digest('b'),
      onnx: digest('2'),
      reused: false,
    }),
    evaluateModel: async () => ({
      evaluation: {
        stage: digest('3'),
        bundle: digest('b'),
        metrics: { valBpb: { value: 1.5, stderr: null, count: 10 } },
        latency: { firstTokenMs: 1, tokensPerSecond: 100, probeDifference: 0 },
      },
      reused: false,
    }),
    registerModelVersion: async ({ run, name }) => {
      world.registered.push({ run, name });
      return { version: 2, reused: false, tokenizer: digest('9'), champion: null };
    },
    requestDeployment: async ({ request }) => {
      world.deployed.push(request);
      return { generation: 1, bundle: digest('b'), url: 'http://127.0.0.1:1/', convergedMs: 5 };
    },
  };
  return { activities, world };
}
type Unused =
  | 'findParent'
  | 'findChampion'
  | 'findSuccessor'
  | 'declareVersion'
  | 'promoteModel'
  | 'awaitConvergence';
