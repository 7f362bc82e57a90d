/**
 * The whole of one run: text in, a served model out. Read it top to bottom; each stage is a function
 * from references to references, and running it twice is a look-up.
 */
import { ApplicationFailure, isCancellation, setHandler } from '@temporalio/workflow';
import type { GateFailure } from '../activities/plan.ts';
import { FailureType } from '../config/failures.ts';
import type { GateMetric } from '../config/gates.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { Recipe } from '../config/recipe.ts';
import { listenForBudget } from './budget.ts';
import { describeGate } from './describe.ts';
import { failedGates, openGates } from './gates.ts';
import {
  runNoteSignal,
  runStatusQuery,
  type PipelineInput,
  type PipelineResult,
  type StageName,
} from './messages.ts';
import { listenForOrders } from './orders.ts';
import { createStages, type Candidate, type Stages } from './pipeline-stages.ts';
import { isOfType, rootMessage } from './root-message.ts';
import { StageBoard } from './stage-board.ts';

export async function pipelineWorkflow(input: PipelineInput): Promise<PipelineResult> {
  const board = new StageBoard(input.run, input.pipeline.name);
  setHandler(runStatusQuery, () => board.status);
  setHandler(runNoteSignal, ({ text }) => board.note(text));
  listenForOrders(board);
  listenForBudget(board);
  try {
    const result = await runPipeline(input, board, createStages(input, board));
    board.finish(result);
    return result;
  } catch (failure) {
    board.fail(isCancellation(failure) ? 'cancelled' : 'failed', rootMessage(failure));
    throw failure;
  }
}

async function runPipeline(
  { pipeline }: PipelineInput,
  board: StageBoard,
  stages: Stages,
): Promise<PipelineResult> {
  const { gates, onFailure } = pipeline.evaluate;
  await stages.specify();
  const corpus = await stages.preprocess(await stages.ingest());
  let recipe = await stages.plan(corpus, null);
  const skip = (left: unknown, ...names: StageName[]) => {
    if (left == null) for (const name of names) board.skip(name);
  };
  skip(recipe.pretrain, 'pretrain', 'evaluate-base');
  skip(recipe.sft, 'fine-tune', 'evaluate-tuned');
  skip(recipe.dpo ?? recipe.orpo, 'align', 'evaluate');

  const reading: GateMetric[] = ['valBpb', 'masked.accuracy', 'masked.loss', 'retrieval.accuracy'];
  const answers: GateMetric[] = ['questions.accuracy', 'preferences.accuracy'];
  const evaluations: PipelineResult['evaluations'] = [];
  const judged = new Set<GateMetric>();
  /** Evaluates and remembers; true when the gates hold, else there is another recipe to try. */
  const passes = async (
    stage: 'evaluate-base' | 'evaluate-tuned' | 'evaluate',
    candidate: Candidate,
    metrics: GateMetric[],
  ): Promise<boolean> => {
    const heldOut = stage === 'evaluate-base';
    const evaluation = await stages.evaluate(stage, candidate, { corpus, heldOut });
    const before = evaluations.findIndex((earlier) => earlier.stage === stage);
    evaluations.splice(before < 0 ? evaluations.length : before, before < 0 ? 0 : 1, {
      stage,
      evaluation,
    });
    const failures = judge(evaluation, metrics);
    if (heldOut) failures.push(...stages.failedChallenge(evaluation));
    if (failures.length === 0) return true;
    recipe = await replan(failures);
    return false;
  };
  const judge = (evaluation: EvaluationSummary, metrics: GateMetric[]): GateFailure[] => {
    for (const metric of metrics) judged.add(metric);
    return failedGates(gates, evaluation, metrics);
  };
  const replan = async (failures: GateFailure[], isSpent = false): Promise<Recipe> => {
    const found = failures.map(describeGate).join('; ');
    if (isSpent || recipe.round >= onFailure.replan) {
      throw ApplicationFailure.nonRetryable(
        `evaluation gate failed after ${recipe.round + 1} rounds: ${found}. ` +
          'The model was not deployed. Give it more budget or data, or lower the gate.',
        FailureType.EvaluationGateFailed,
        failures,
      );
    }
    board.note(`gate failed: ${found}; round ${recipe.round + 2} trains with another recipe`);
    return await stages.plan(corpus, { recipe, failures });
  };

  /** Where the budget left a phase no time for a model, the model before it stands, if its evaluation keeps the gates. */
  const settle = async (failure: unknown, left: StageName[]): Promise<void> => {
    if (!isOfType(failure, FailureType.BudgetExhausted)) throw failure;
    // Of an earlier round, whose models are superseded.
    const kept = evaluations.filter(({ stage }) => !left.includes(stage));
    const standing = kept.at(-1);
    if (standing === undefined) throw failure;
    evaluations.splice(0, Infinity, ...kept);
    for (const name of left) board.skip(name);
    board.note(`${rootMessage(failure)}; the model before it stands`, left[0]);
    const failures = judge(standing.evaluation, answers);
    if (failures.length > 0) await replan(failures, true);
  };

  /** Nothing is released under a gate that no evaluation has looked at. */
  const release = async (candidate: Candidate): Promise<PipelineResult> => {
    const open = openGates(gates, judged);
    if (open.length > 0) {
      throw ApplicationFailure.nonRetryable(
        `nothing evaluated the gate on ${open.join(', ')}, so the model was not deployed. ` +
          'Set goal: assistant with questions, name the phases that it needs, or remove the gate.',
        FailureType.EvaluationGateFailed,
      );
    }
    return await stages.release(candidate, { corpus, recipe, evaluations });
  };

  let base: Candidate | null = null;
  while (recipe.pretrain !== null) {
    base = await stages.train('pretrain', recipe.pretrain, { corpus, recipe, before: [] });
    if (await passes('evaluate-base', base, reading)) break;
  }

  let last = base;
  for (let passed = false; !passed;) {
    const { sft, dpo, orpo } = recipe;
    const preferring = dpo ?? orpo ?? null;
    last = base;
    passed = true;
    if (sft !== null) {
      const before = last?.models ?? [];
      try {
        last = await stages.train('fine-tune', sft, { corpus, recipe, before });
      } catch (failure) {
        await settle(failure, ['fine-tune', 'evaluate-tuned', 'align', 'evaluate']);
        break;
      }
      passed = await passes('evaluate-tuned', last, preferring === null ? answers : []);
    }
    if (preferring !== null) {
      const before = last?.models ?? [];
      try {
        last = await stages.train('align', preferring, { corpus, recipe, before });
      } catch (failure) {
        await settle(failure, ['align', 'evaluate']);
        break;
      }
      passed = await passes('evaluate', last, answers);
    }
  }
  if (last === null) throw new Error('found a recipe without a phase');
  return await release(last);
}
