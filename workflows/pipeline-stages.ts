/** The stages of a run: each calls its activities or its child workflow, and keeps its line on the board. */
import {
  executeChild,
  isCancellation,
  patched,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { BaseModel, BaseModelActivities } from '../activities/base-model.ts';
import type { CalibrateActivities } from '../activities/calibrate.ts';
import type { EvaluateActivities } from '../activities/evaluate.ts';
import type { ExportActivities } from '../activities/export.ts';
import type { GivenModelActivities } from '../activities/given-model.ts';
import type { IngestActivities, IngestResult } from '../activities/ingest.ts';
import type { GateFailure, ParentModel, PlanActivities } from '../activities/plan.ts';
import type { PreprocessActivities } from '../activities/preprocess.ts';
import type { PreprocessResult } from '../activities/preprocess-input.ts';
import type { RehearsalActivities } from '../activities/rehearsal.ts';
import type { ReleaseActivities } from '../activities/release.ts';
import type { ReplayActivities } from '../activities/replay.ts';
import type { TrainedModel } from '../activities/training-job.ts';
import { calibrationShare } from '../config/calibration.ts';
import { heldOutWarning } from '../config/held-out.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import { isMixed } from '../config/mixing.ts';
import type { Pipeline } from '../config/pipeline.ts';
import type { MeasuredModel, Phase, PhaseRecipe, Recipe } from '../config/recipe.ts';
import { control, gpu, ingesting } from './activity-options.ts';
import { addAtStart, budgetOf } from './budget.ts';
import {
  describeCorpus,
  describeDataset,
  describeEvaluation,
  describeRecipe,
  describeScale,
  describeTraining,
  describeUnread,
} from './describe.ts';
import type { GangWish } from './gang.ts';
import { workflowId, type PipelineInput, type PipelineResult, type StageName } from './messages.ts';
import { noteUnheeded, untilApproved } from './orders.ts';
import { preprocessWorkflow } from './preprocess.ts';
import { readDocuments } from './read-documents.ts';
import { failedChallenge, Rivals } from './rivals.ts';
import { rootMessage } from './root-message.ts';
import type { StageBoard } from './stage-board.ts';
import { searchRate } from './sweep.ts';
import { trainingWorkflow } from './training.ts';

const { recordSpecification } = proxyActivities<PlanActivities>({
  ...control,
  summary: 'record the specification',
});
const { findParent } = proxyActivities<PlanActivities>({
  ...control,
  summary: 'look up the model to start from',
});
const { importBaseModel } = proxyActivities<BaseModelActivities>({
  ...gpu,
  summary: 'import the base model',
});
const { measureModel } = proxyActivities<GivenModelActivities>({
  ...gpu,
  summary: 'measure the configuration that was given',
});
const { writeRehearsal } = proxyActivities<RehearsalActivities>({
  ...gpu,
  summary: 'let the base write what it rehearses',
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
const { partReplay } = proxyActivities<ReplayActivities>({
  ...ingesting,
  summary: 'part what was trained on before from what is new',
});
const { ingestCorpus } = proxyActivities<IngestActivities>({
  ...ingesting,
  summary: 'read the sources into a dataset version',
});

const { findDataset } = proxyActivities<IngestActivities>({
  ...ingesting,
  summary: 'look up the dataset version',
});

const { findPreparedCorpus } = proxyActivities<PreprocessActivities>({
  ...ingesting,
  summary: 'look up the corpus that was prepared',
});

/** A `startFrom` that stands in the registry; another one is a model from elsewhere. */
const registered = /^[a-z][a-z0-9-]*@/;

/** A model with all that it came from, exported: what is evaluated and may be served. */
export interface Candidate {
  /** The phases it went through, the last one last. */
  models: TrainedModel[];
  exported: string;
  bundle: string;
  onnx: string;
}

export type Stages = ReturnType<typeof createStages>;

export function createStages(input: PipelineInput, board: StageBoard) {
  const { run, pipeline, machine, baseDir, ingested, challenge = false, follows, added } = input;
  const {
    sources = [],
    dataset: _dataset,
    sample: _sample,
    originals: _originals,
    replay,
    ...data
  } = pipeline.data;
  const { tokenizer: tokenizerWish } = pipeline;
  const readsOtherFiles =
    data.decontaminate !== undefined ||
    data.conversations !== undefined ||
    (tokenizerWish !== undefined && 'from' in tokenizerWish);
  /** Whose pretraining goes on; null: from random weights. */
  let parent: ParentModel | null = null;
  /** The model from elsewhere that is adapted; null: none. */
  let base: BaseModel | null = null;
  /** The configuration of transformers that the file gives, as measured; null: none. */
  let given: MeasuredModel | null = null;
  const rivals = new Rivals();
  return {
    async specify(): Promise<void> {
      await recordSpecification({
        run,
        pipeline,
        machine,
        baseDir,
        ...(ingested && { ingested }),
        ...(challenge && { challenge }),
        ...(follows !== undefined && { follows }),
      });
      if (registered.test(pipeline.startFrom)) {
        const asItIs = pipeline.phases?.includes('pretrain') === false;
        parent = await findParent({ startFrom: pipeline.startFrom, ...(asItIs && { asItIs }) });
      }
    },

    async ingest(): Promise<IngestResult> {
      return await board.stage('ingest', async (done) => {
        const { startFrom } = pipeline;
        // Before documents are read: a base that cannot be used is told at once.
        if (startFrom !== 'scratch' && parent === null) {
          base = await importBaseModel({ startFrom, baseDir });
        }
        if (pipeline.model !== undefined && 'config' in pipeline.model) {
          const { config } = pipeline.model;
          given = input.given ?? (await measureModel({ config, baseDir }));
        }
        const result =
          ingested ??
          (await readDocuments({ run, pipeline, baseDir }, { findDataset, ingestCorpus }));
        const unread = describeUnread(result.dropped);
        if (unread !== null) board.note(`${unread}: they are not in ${result.dataset.name}`);
        return done(result, describeDataset(result), result.reused);
      });
    },

    /** Resolves with the digest of the corpus. */
    async preprocess({ dataset, dropped }: IngestResult): Promise<string> {
      return await board.stage('preprocess', async (done) => {
        if (input.corpus !== undefined) {
          const prepared = await findPreparedCorpus({ corpus: input.corpus });
          if (prepared !== null) return done(prepared.corpus, describeCorpus(prepared), true);
        }
        const { questions, seed } = pipeline;
        const result: PreprocessResult = await executeChild(preprocessWorkflow, {
          workflowId: workflowId.preprocess(run),
          staticSummary: `clean, deduplicate and tokenize ${dataset.name}@${dataset.version}`,
          args: [
            {
              run,
              dataset,
              data,
              questions,
              seed,
              unread: dropped,
              ...(readsOtherFiles && { baseDir }),
              ...(isMixed(sources) && { mixed: sources }),
              ...(tokenizerWish && { tokenizerWish }),
              ...keptTokenizer(),
            },
          ],
        });
        const { numHeldOut, numHeldOutTokens: numTokens } = result.summary;
        const few =
          numTokens === undefined
            ? null
            : heldOutWarning(
                { numDocuments: numHeldOut, numTokens },
                { masked: pipeline.goal === 'embeddings' },
              );
        if (few !== null) board.note(few);
        if (replay === undefined || parent === null)
          return done(result.corpus, describeCorpus(result), result.reused);
        const { name, version, pretrain } = parent;
        const corpus = await partReplay({
          corpus: result.corpus,
          parent: { name, version, pretrain },
        });
        return done(corpus, describeCorpus(result), result.reused);
      });
    },

    async plan(
      corpus: string,
      previous: { recipe: Recipe; failures: GateFailure[] } | null,
    ): Promise<Recipe> {
      return await board.stage('plan', async (done) => {
        const asked = {
          run,
          pipeline,
          corpus,
          machine,
          previous,
          parent,
          ...(base && { base }),
          ...(given && { given }),
        };
        let recipe = await planTraining(asked);
        if (recipe.calibrate !== undefined) {
          const { calibrate, ...planned } = recipe;
          const timed = await calibrated(planned, corpus, calibrate.numSteps);
          // Which GPUs live now is another question than which ones were timed.
          const machine = planned.machine.gpu === undefined ? asked.machine : planned.machine;
          recipe = timed ? await planTraining({ ...asked, machine, calibrated: true }) : planned;
        }
        board.status.recipe = recipe;
        if (added !== undefined && previous === null && recipe.held !== undefined) {
          await addAtStart(board, added, recipe.held);
        }
        const origin = base?.title ?? (parent && `${parent.name}@${parent.version}`);
        const onwards = origin === null ? '' : `, from ${origin}`;
        return done(recipe, `${describeRecipe(recipe)}${onwards}`, false);
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
        const last = before.at(-1) ?? null;
        const init = last === null ? firstModel() : { phase: last.phase, stage: last.stage };
        const rehearsal = init && (await rehearsalOf(phaseRecipe, init, recipe));
        const { held } = recipe;
        // Once a training that the budget had ended goes on, those after it were made of a model that is superseded.
        const replaces = held !== undefined && (last !== null || recipe.round > 0);
        const shared = {
          run,
          round: recipe.round,
          execution: workflowInfo().firstExecutionRunId,
          shape: recipe.model,
          // The one that was planned for: with its GPUs, where the pipeline asks for them.
          machine: recipe.machine,
          corpus,
          init,
          ...(rehearsal !== null && { rehearsal }),
          ...(replaces && { replaces }),
        };
        const chosen =
          phaseRecipe.phase === 'pretrain' && recipe.sweep !== undefined
            ? await searchRate(board, { ...recipe, pretrain: phaseRecipe }, recipe.sweep, shared)
            : null;
        if (chosen !== null) board.status.recipe = { ...recipe, pretrain: chosen.recipe };
        const train = async (): Promise<TrainedModel> =>
          await executeChild(trainingWorkflow, {
            workflowId: workflowId.training(run, phase, recipe.round),
            staticSummary: `${phase}: ${numSteps} steps, round ${recipe.round + 1}`,
            args: [
              {
                ...shared,
                trial: chosen?.trial ?? 0,
                recipe: chosen?.recipe ?? phaseRecipe,
                ...(chosen && { from: chosen.from }),
                ...(held && { budget: budgetOf(held, phase) }),
                ...gangOf(pipeline, phaseRecipe),
              },
            ],
          });
        board.training = phase;
        let numAdded = board.numAdded;
        let model = await train().finally(() => {
          board.training = null;
        });
        // Added while the model of where it had ended was made.
        while (model.ended !== undefined && board.numAdded > numAdded) {
          numAdded = board.numAdded;
          board.training = phase;
          model = await train().finally(() => {
            board.training = null;
          });
        }
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
          `${describeTraining(model)}${chosen ? `, at ${describeScale(chosen.multiple)} of the rate` : ''}`,
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
        let summary = describeEvaluation(evaluation);
        if (challenge && heldOut && parent !== null) {
          await rivals.measure(parent, corpus, board.status.recipe?.pretrain?.threads ?? 1);
          for (const { name, version, valBpb } of rivals.all) {
            summary += `; ${name}@${version} ${valBpb?.toFixed(3) ?? 'unknown'}`;
          }
        }
        return done(evaluation, summary, reused);
      });
    },

    /** How a challenger falls short of the model that it would replace; nothing when it challenges none. */
    failedChallenge(evaluation: EvaluationSummary): GateFailure[] {
      return failedChallenge(rivals.all, evaluation);
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
          phases: [
            ...(parent?.phases ?? []),
            ...models.map(({ phase, stage }) => ({ phase, stage })),
          ],
          evaluations: Object.fromEntries(
            evaluations.map(({ stage, evaluation }) => [stage, evaluation.stage]),
          ),
          ...(parent && { parent: { name: parent.name, version: parent.version } }),
          ...(base ? { base: lineageOf(base) } : parent?.base && { base: parent.base }),
          ...rivals.anchorFor(evaluations),
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
            request: { model: model.name, version, by, reason, ...expectation() },
          });
          summary = `${model.name}@${version} live at ${url}`;
        }
        const weights = models.at(-1)!.weights;
        const digests = { tokenizer, weights, onnx, bundle };
        const result = {
          run,
          model,
          digests,
          evaluations,
          endpoint,
          ...(rivals.parent && { rival: rivals.parent }),
        };
        return done(result, summary, reused);
      });
    },
  };

  /** The tokenizer of the model that is gone on from: its weights know no other. */
  function keptTokenizer(): { tokenizer?: BaseModel['tokenizer'] } {
    const from = base ?? parent;
    return from === null ? {} : { tokenizer: from.tokenizer };
  }

  /** What the first phase starts from; null: random weights. */
  function firstModel(): { phase: 'import' | Phase; stage: string } | null {
    if (base !== null) return { phase: 'import', stage: base.stage };
    const { phases, pretrain = null } = parent ?? {};
    if (phases !== undefined) return phases.at(-1) ?? null;
    return pretrain === null ? null : { phase: 'pretrain', stage: pretrain };
  }

  /** The text that the model wrote which a phase starts from; null where its recipe rehearses none. */
  async function rehearsalOf(
    recipe: PhaseRecipe,
    model: NonNullable<ReturnType<typeof firstModel>> | Pick<TrainedModel, 'phase' | 'stage'>,
    { model: shape }: Recipe,
  ): Promise<string | null> {
    if (recipe.phase !== 'pretrain' || recipe.rehearsal === undefined) return null;
    const { seed, precision, threads, rehearsal } = recipe;
    const tokenBytes = shape.vocabSize <= 65_536 ? 2 : 4;
    const { tokenizer } = keptTokenizer();
    if (tokenizer === undefined) return null;
    const { device, instructionSet } = machine;
    return await writeRehearsal({
      model,
      device: { device, instructionSet },
      recipe: { seed, precision, threads, rehearsal },
      tokenizer: tokenizer.file,
      tokenBytes,
    });
  }

  /** Times a few steps on the machine; whether the plan is made again, once and for good. What goes wrong is noted. */
  async function calibrated(recipe: Recipe, corpus: string, numSteps: number): Promise<boolean> {
    const { pretrain } = recipe;
    if (pretrain === null) return false;
    const limitMs = Math.ceil(pipeline.budget.time * calibrationShare);
    const { calibrateTraining } = proxyActivities<CalibrateActivities>({
      ...gpu,
      summary: `time ${numSteps} steps on the machine`,
      startToCloseTimeout: limitMs + 300_000,
      retry: { ...gpu.retry, maximumAttempts: 2 },
    });
    try {
      const init = firstModel();
      const rehearsal = init && (await rehearsalOf(pretrain, init, recipe));
      const { stepMs, note } = await calibrateTraining({
        job: {
          trial: { run, phase: 'pretrain', round: 0, trial: 0 },
          recipe: pretrain,
          shape: recipe.model,
          machine: recipe.machine,
          corpus,
          init,
          ...(rehearsal !== null && { rehearsal }),
        },
        numSteps,
        limitMs,
      });
      if (stepMs === null) board.note(`not calibrated: ${note}; the plan keeps its estimate`);
      return true;
    } catch (failure) {
      if (isCancellation(failure)) throw failure;
      board.note(`not calibrated: ${rootMessage(failure)}; the plan keeps its estimate`);
      // Recorded as tried: a run that is recovered must not be planned by what is measured later.
      return patched('failed-calibration-stands');
    }
  }

  /** A model that set out from its own champion follows that one, and no other that was promoted meanwhile. */
  function expectation(): { expectedChampion?: number | null } {
    if (follows !== undefined) return { expectedChampion: follows };
    const own = pipeline.startFrom === `${pipeline.name}@champion`;
    return own && parent !== null ? { expectedChampion: parent.version } : {};
  }
}

/** On how many hosts a phase trains, where it is more than one. */
function gangOf({ compute }: Pipeline, { worldSize }: PhaseRecipe): { gang?: GangWish } {
  if (compute === 'local' || compute.hosts === undefined || worldSize === 1) return {};
  const { hosts, elastic = false } = compute;
  const ranksAHost = worldSize / hosts;
  return { gang: { numHosts: hosts, elastic, ...(ranksAHost > 1 && { ranksAHost }) } };
}

function lineageOf({ name, title, license, weights }: BaseModel) {
  return { name, title, license, weights };
}
