/**
 * The whole of one run: text in, a served model out. Read it top to bottom; each stage is a function
 * from references to references, and running it twice is a look-up.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  executeChild,
  isCancellation,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { EvaluateActivities } from '../activities/evaluate.ts';
import type { ExportActivities } from '../activities/export.ts';
import type { IngestActivities } from '../activities/ingest.ts';
import type { PreprocessResult } from '../activities/preprocess-input.ts';
import type { GateFailure, PlanActivities } from '../activities/plan.ts';
import type { ReleaseActivities } from '../activities/release.ts';
import type { TrainedModel } from '../activities/training-job.ts';
import { FailureType } from '../config/failures.ts';
import type { Evaluation } from '../config/manifests.ts';
import type { PhaseRecipe } from '../config/recipe.ts';
import { TaskQueue } from '../config/queues.ts';
import { describeEvaluation, failedGates } from './gates.ts';
import {
  runNoteSignal,
  runStatusQuery,
  workflowId,
  type PipelineInput,
  type PipelineResult,
  type StageName,
} from './messages.ts';
import { preprocessWorkflow } from './preprocess.ts';
import { StageBoard } from './stage-board.ts';
import { trainingWorkflow } from './training.ts';

const retry = {
  nonRetryableErrorTypes: Object.values(FailureType),
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

interface Tuned {
  models: TrainedModel[];
  exported: string;
  bundle: string;
  onnx: string;
}

export async function pipelineWorkflow(input: PipelineInput): Promise<PipelineResult> {
  const { run, pipeline, machine } = input;
  const { sources, ...data } = pipeline.data;
  const board = new StageBoard(run, pipeline.name);
  setHandler(runStatusQuery, () => board.status);
  setHandler(runNoteSignal, ({ text }) => board.note(text));

  try {
    const result = await runPipeline();
    board.finish(result);
    return result;
  } catch (failure) {
    board.fail(isCancellation(failure) ? 'cancelled' : 'failed', rootMessage(failure));
    throw failure;
  }

  async function runPipeline(): Promise<PipelineResult> {
    await recordSpecification({ run, pipeline, machine });

    const dataset = await board.stage('ingest', async (done) => {
      const ingested = await ingestCorpus({
        run,
        name: pipeline.name,
        sources,
        baseDir: input.baseDir,
      });
      const { name, version } = ingested.dataset;
      return done(
        ingested,
        `${ingested.numDocuments} documents, ${name}@${version}`,
        ingested.reused,
      );
    });

    const corpus = await board.stage('preprocess', async (done) => {
      const cleaned = await executeChild(preprocessWorkflow, {
        workflowId: workflowId.preprocess(run),
        staticSummary: `clean, deduplicate and tokenize ${pipeline.name}@${dataset.dataset.version}`,
        args: [
          {
            run,
            dataset: dataset.dataset,
            data,
            questions: pipeline.questions,
            seed: pipeline.seed,
          },
        ],
      });
      return done(cleaned, describeCorpus(cleaned), cleaned.reused);
    });

    const plan = (previous: Parameters<typeof planTraining>[0]['previous']) =>
      board.stage('plan', async (done) => {
        const recipe = await planTraining({
          run,
          pipeline,
          corpus: corpus.corpus,
          machine,
          previous,
        });
        board.status.recipe = recipe;
        const minutes = (recipe.estimate.trainingMs / 60_000).toFixed(1);
        return done(
          recipe,
          `Llama ${(recipe.numParameters / 1e6).toFixed(1)}M, ${minutes} min of training, $${recipe.estimate.usd}`,
          false,
        );
      });

    let recipe = await plan(null);
    const replanOn = async (failures: GateFailure[]): Promise<boolean> => {
      if (failures.length === 0) return false;
      const found = failures.map(describeGate).join('; ');
      if (recipe.round >= pipeline.evaluate.onFailure.replan) {
        throw ApplicationFailure.nonRetryable(
          `evaluation gate failed after ${recipe.round + 1} rounds: ${found}. ` +
            'The model was not deployed. Give it more budget or data, or lower the gate.',
          FailureType.EvaluationGateFailed,
        );
      }
      board.note(`gate failed: ${found}; round ${recipe.round + 2} trains with another recipe`);
      recipe = await plan({ recipe, failures });
      return true;
    };

    let base: Tuned;
    let baseEvaluation: Evaluation;
    do {
      base = await trainAndExport('pretrain', recipe.pretrain, []);
      baseEvaluation = await evaluate('evaluate-base', base, true);
    } while (await replanOn(failedGates(pipeline.evaluate.gates, baseEvaluation, ['valBpb'])));

    const evaluations: PipelineResult['evaluations'] = [
      { stage: 'evaluate-base', evaluation: baseEvaluation },
    ];
    let final = base;
    if (recipe.sft === null || recipe.dpo === null) {
      for (const stage of ['fine-tune', 'evaluate-tuned', 'align', 'evaluate'] as const)
        board.skip(stage);
    } else {
      let aligned: Evaluation;
      let tunedEvaluation: Evaluation;
      do {
        const tuned = await trainAndExport('fine-tune', recipe.sft, base.models);
        tunedEvaluation = await evaluate('evaluate-tuned', tuned, false);
        final = await trainAndExport('align', recipe.dpo, tuned.models);
        aligned = await evaluate('evaluate', final, false);
      } while (
        await replanOn(
          failedGates(pipeline.evaluate.gates, aligned, [
            'questions.accuracy',
            'preferences.accuracy',
          ]),
        )
      );
      evaluations.push(
        { stage: 'evaluate-tuned', evaluation: tunedEvaluation },
        { stage: 'evaluate', evaluation: aligned },
      );
    }

    return await board.stage('deploy', async (done) => {
      const registered = await registerModelVersion({
        run,
        name: pipeline.name,
        corpus: corpus.corpus,
        recipe,
        exported: final.exported,
        phases: final.models.map(({ phase, stage }) => ({ phase, stage })),
        evaluations: Object.fromEntries(
          evaluations.map(({ stage, evaluation }) => [stage, evaluation]),
        ),
      });
      const { version, reused, tokenizer } = registered;
      const model = { name: pipeline.name, version, reused };
      const endpoint = pipeline.deploy?.endpoint ?? null;
      let summary = `${model.name}@${version} registered`;
      if (endpoint !== null) {
        const reason = `run ${run} passed its gates`;
        const { url } = await requestDeployment({
          endpoint,
          request: { model: model.name, version, by: `run ${run}`, reason },
        });
        summary = `${model.name}@${version} live at ${url}`;
      }
      const digests = {
        tokenizer,
        weights: final.models.at(-1)!.weights,
        onnx: final.onnx,
        bundle: final.bundle,
      };
      return done({ run, model, digests, evaluations, endpoint }, summary, reused);
    });

    async function trainAndExport(
      stage: StageName,
      phaseRecipe: PhaseRecipe,
      before: TrainedModel[],
    ): Promise<Tuned> {
      return await board.stage(stage, async (done) => {
        const { phase } = phaseRecipe;
        const parent = before.at(-1);
        const model = await executeChild(trainingWorkflow, {
          workflowId: workflowId.training(run, phase, recipe.round),
          staticSummary: `${phase}: ${phaseRecipe.numSteps} steps, round ${recipe.round + 1}`,
          args: [
            {
              run,
              round: recipe.round,
              trial: 0,
              recipe: phaseRecipe,
              shape: recipe.model,
              machine,
              corpus: corpus.corpus,
              init: parent === undefined ? null : { phase: parent.phase, stage: parent.stage },
            },
          ],
        });
        const { exportOnnx } = proxyActivities<ExportActivities>({
          ...gpu,
          summary: `export ${phase} to ONNX`,
        });
        const exported = await exportOnnx({
          model: { phase: model.phase, stage: model.stage },
          corpus: corpus.corpus,
          threads: phaseRecipe.threads,
        });
        return done(
          {
            models: [...before, model],
            exported: exported.stage,
            bundle: exported.bundle,
            onnx: exported.onnx,
          },
          `${model.numSteps} steps, loss ${model.finalLoss.toFixed(2)}`,
          model.reused && exported.reused,
        );
      });
    }

    async function evaluate(
      stage: StageName,
      { exported }: Tuned,
      heldOut: boolean,
    ): Promise<Evaluation> {
      return await board.stage(stage, async (done) => {
        const { evaluateModel } = proxyActivities<EvaluateActivities>({
          ...gpu,
          summary: `${stage} through the server`,
        });
        const { evaluation, reused } = await evaluateModel({
          exported,
          corpus: corpus.corpus,
          heldOut,
        });
        return done(evaluation, describeEvaluation(evaluation), reused);
      });
    }
  }
}

function describeCorpus({ summary }: PreprocessResult): string {
  const { kept, dropped, redacted, numTokens } = summary;
  const total = (counts: Record<string, number>) =>
    Object.values(counts).reduce((sum, count) => sum + count, 0);
  const reasons = Object.entries(dropped).map(
    ([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`,
  );
  const why = reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
  return `${kept} kept, ${total(dropped)} dropped${why}, ${total(redacted)} redacted, ${(numTokens / 1e6).toFixed(1)}M tokens`;
}

function describeGate({ metric, value, min, max }: GateFailure): string {
  if (value === null) return `${metric} was not measured`;
  const bound = min !== undefined && value < min ? `below ${min}` : `above ${max}`;
  return `${metric} ${value.toFixed(3)} is ${bound}`;
}

/** The sentence that an operator needs lies at the bottom of the chain of causes. */
function rootMessage(failure: unknown): string {
  let current = failure;
  while (
    (current instanceof ActivityFailure || current instanceof ChildWorkflowFailure) &&
    current.cause
  ) {
    current = current.cause;
  }
  return current instanceof Error ? current.message : String(current);
}
