/** The stages of a run: each calls its activities or its child workflow, and keeps its line on the board. */
import { executeChild, proxyActivities } from '@temporalio/workflow';
import type { EvaluateActivities } from '../activities/evaluate.ts';
import type { ExportActivities } from '../activities/export.ts';
import type { IngestActivities, IngestResult } from '../activities/ingest.ts';
import type { GateFailure, PlanActivities } from '../activities/plan.ts';
import type { PreprocessResult } from '../activities/preprocess-input.ts';
import type { ReleaseActivities } from '../activities/release.ts';
import type { TrainedModel } from '../activities/training-job.ts';
import { nonRetryableErrorTypes } from '../config/failures.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { PhaseRecipe, Recipe } from '../config/recipe.ts';
import { TaskQueue } from '../config/queues.ts';
import {
  describeCorpus,
  describeDataset,
  describeEvaluation,
  describeRecipe,
  describeTraining,
  describeUnread,
} from './describe.ts';
import { workflowId, type PipelineInput, type PipelineResult, type StageName } from './messages.ts';
import { noteUnheeded, untilApproved } from './orders.ts';
import { preprocessWorkflow } from './preprocess.ts';
import type { StageBoard } from './stage-board.ts';
import { trainingWorkflow } from './training.ts';

const retry = {
  nonRetryableErrorTypes,
  maximumInterval: '5s' as const,
  maximumAttempts: 30,
};
const control = { taskQueue: TaskQueue.control, startToCloseTimeout: '60s', retry } as const;
const gpu = {
  taskQueue: TaskQueue.gpu,
  startToCloseTimeout: '2h',
  heartbeatTimeout: '20s',
  retry,
} as const;

const { recordSpecification } = proxyActivities<PlanActivities>({
  ...control,
  summary: 'record the specification',
});
const { planTraining } = proxyActivities<PlanActivities>({
  ...control,
  summary: 'freeze the recipe',
});
const { registerModelVersion } = proxyActivities<ReleaseActivities>({
  ...control,
  summary: 'register the model version',
});
const { requestDeployment } = proxyActivities<ReleaseActivities>({
  ...control,
  summary: 'deploy, and wait until it is served',
  startToCloseTimeout: '30m',
  heartbeatTimeout: '10s',
});
const { ingestCorpus } = proxyActivities<IngestActivities>({
  taskQueue: TaskQueue.data,
  summary: 'read the sources into a dataset version',
  startToCloseTimeout: '2h',
  heartbeatTimeout: '10s',
  retry,
});

/** A model with all that it came from, exported: what is evaluated and may be served. */
export interface Candidate {
  /** The phases it went through, the last one last. */
  models: TrainedModel[];
  exported: string;
  bundle: string;
  onnx: string;
}

export type Stages = ReturnType<typeof createStages>;

export function createStages(
  { run, pipeline, machine, baseDir }: PipelineInput,
  board: StageBoard,
) {
  const { sources, sample, ...data } = pipeline.data;
  return {
    async specify(): Promise<void> {
      await recordSpecification({ run, pipeline, machine });
    },

    async ingest(): Promise<IngestResult> {
      return await board.stage('ingest', async (done) => {
        const result = await ingestCorpus({
          run,
          name: pipeline.name,
          sources,
          baseDir,
          ...(sample < 1 && { sample }),
        });
        const unread = describeUnread(result.dropped);
        if (unread !== null) board.note(`${unread}: they are not in ${pipeline.name}`);
        return done(result, describeDataset(result), result.reused);
      });
    },

    /** Resolves with the digest of the corpus. */
    async preprocess({ dataset, dropped }: IngestResult): Promise<string> {
      return await board.stage('preprocess', async (done) => {
        const { questions, seed } = pipeline;
        const result: PreprocessResult = await executeChild(preprocessWorkflow, {
          workflowId: workflowId.preprocess(run),
          staticSummary: `clean, deduplicate and tokenize ${dataset.name}@${dataset.version}`,
          args: [{ run, dataset, data, questions, seed, unread: dropped }],
        });
        return done(result.corpus, describeCorpus(result), result.reused);
      });
    },

    async plan(
      corpus: string,
      previous: { recipe: Recipe; failures: GateFailure[] } | null,
    ): Promise<Recipe> {
      return await board.stage('plan', async (done) => {
        const recipe = await planTraining({ run, pipeline, corpus, machine, previous });
        board.status.recipe = recipe;
        return done(recipe, describeRecipe(recipe), false);
      });
    },

    /** Trains one phase from the last of `before`, then exports it. */
    async train(
      stage: StageName,
      phaseRecipe: PhaseRecipe,
      { corpus, recipe, before }: { corpus: string; recipe: Recipe; before: TrainedModel[] },
    ): Promise<Candidate> {
      return await board.stage(stage, async (done) => {
        const { phase, numSteps, threads } = phaseRecipe;
        const parent = before.at(-1);
        const model = await executeChild(trainingWorkflow, {
          workflowId: workflowId.training(run, phase, recipe.round),
          staticSummary: `${phase}: ${numSteps} steps, round ${recipe.round + 1}`,
          args: [
            {
              run,
              round: recipe.round,
              trial: 0,
              recipe: phaseRecipe,
              shape: recipe.model,
              machine,
              corpus,
              init: parent === undefined ? null : { phase: parent.phase, stage: parent.stage },
            },
          ],
        });
        noteUnheeded(board, { phase, round: recipe.round }, model);
        const { exportOnnx } = proxyActivities<ExportActivities>({
          ...gpu,
          summary: `export ${phase} to ONNX`,
        });
        const source = { phase: model.phase, stage: model.stage };
        const exported = await exportOnnx({ model: source, corpus, threads });
        return done(
          {
            models: [...before, model],
            exported: exported.stage,
            bundle: exported.bundle,
            onnx: exported.onnx,
          },
          describeTraining(model),
          model.reused && exported.reused,
        );
      });
    },

    async evaluate(
      stage: StageName,
      { exported }: Candidate,
      { corpus, heldOut }: { corpus: string; heldOut: boolean },
    ): Promise<EvaluationSummary> {
      return await board.stage(stage, async (done) => {
        const { evaluateModel } = proxyActivities<EvaluateActivities>({
          ...gpu,
          summary: `${stage} through the server`,
        });
        const { evaluation, reused } = await evaluateModel({ exported, corpus, heldOut });
        return done(evaluation, describeEvaluation(evaluation), reused);
      });
    },

    /** Registers the version and, when the pipeline names an endpoint, waits until it is served. */
    async release(
      { models, exported, bundle, onnx }: Candidate,
      context: { corpus: string; recipe: Recipe; evaluations: PipelineResult['evaluations'] },
    ): Promise<PipelineResult> {
      return await board.stage('deploy', async (done) => {
        const { corpus, recipe, evaluations } = context;
        const { version, reused, tokenizer } = await registerModelVersion({
          run,
          name: pipeline.name,
          corpus,
          recipe,
          exported,
          phases: models.map(({ phase, stage }) => ({ phase, stage })),
          evaluations: Object.fromEntries(
            evaluations.map(({ stage, evaluation }) => [stage, evaluation.stage]),
          ),
        });
        const model = { name: pipeline.name, version, reused };
        const endpoint = pipeline.deploy?.endpoint ?? null;
        let summary = `${model.name}@${version} registered`;
        if (endpoint !== null) {
          let by = `run ${run}`;
          let reason = `run ${run} passed its gates`;
          if (pipeline.deploy?.approval === 'required') {
            board.say('deploy', `${model.name}@${version} stays registered, and is not served`);
            const told = await untilApproved(board, model);
            board.say('deploy', '');
            by = told.by;
            reason = `${told.why ?? 'approved'} (${reason})`;
          }
          const { url } = await requestDeployment({
            endpoint,
            request: { model: model.name, version, by, reason },
          });
          summary = `${model.name}@${version} live at ${url}`;
        }
        const weights = models.at(-1)!.weights;
        const digests = { tokenizer, weights, onnx, bundle };
        return done({ run, model, digests, evaluations, endpoint }, summary, reused);
      });
    },
  };
}
