/** Registers a bundle as a model version, declares the deployment, waits for the nodes and moves the alias. */
import { ApplicationFailure, Context, heartbeat } from '@temporalio/activity';
import {
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  type Client,
  type Workflow,
} from '@temporalio/client';
import type { DeployOutcome, DeployRequest } from '../config/deployment.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  evaluationSchema,
  modelManifestSchema,
  type Deployment,
  type Evaluation,
  type ModelVersion,
} from '../config/manifests.ts';
import type { Phase, Recipe } from '../config/recipe.ts';
import { TaskQueue } from '../config/queues.ts';
import { declareDeployment, livingReports, readNodeReports } from '../registry/deployments.ts';
import { AliasMoved, StoreRefused, StoreUnreachable } from '../registry/errors.ts';
import { getModel, moveAlias, readAlias, registerModel, requireAlias } from '../registry/models.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Deps } from './deps.ts';
import { requireStage } from './stage-records.ts';

export type { DeployOutcome, DeployRequest } from '../config/deployment.ts';

export interface RegisterInput {
  run: string;
  name: string;
  corpus: string;
  recipe: Recipe;
  exported: string;
  phases: { phase: Phase; stage: string }[];
  /** Digests of the records of their stages, by phase. */
  evaluations: Record<string, string>;
  /** Whose pretraining was continued; left out, it began from random weights. */
  parent?: { name: string; version: number } | null;
  /** The model from elsewhere that was adapted. */
  base?: ModelVersion['lineage']['base'];
  /** The best of its line, where it is not this model itself. */
  anchor?: { name: string; version: number };
}

/** What the nodes are at, as heartbeats tell it. */
export interface ConvergeProgress {
  kind: 'converge';
  serving: number;
  /** Nodes that live. */
  nodes: number;
  /** What keeps them from serving it until now, a sentence each. */
  trying: string[];
}

export function createReleaseActivities(deps: Deps & { client: Client }) {
  const { store } = deps;
  return {
    async registerModelVersion(
      input: RegisterInput,
    ): Promise<{ version: number; reused: boolean; tokenizer: string; champion: number | null }> {
      const corpus = await requireStage(store, 'preprocess', input.corpus, corpusManifestSchema);
      const bundle = await requireStage(store, 'export', input.exported, bundleManifestSchema);
      const phases = [];
      let exact = true;
      for (const { phase, stage } of input.phases) {
        const model = await requireStage(store, phase, stage, modelManifestSchema);
        exact &&= model.exact;
        phases.push({
          phase,
          model: stageDigest(model),
          weights: model.files['model.safetensors']!.sha256,
          stage,
        });
      }
      const evaluations: Record<string, Evaluation> = {};
      for (const [phase, digest] of Object.entries(input.evaluations)) {
        evaluations[phase] = await requireStage(store, 'evaluate', digest, evaluationSchema);
      }
      const { version, reused } = await registerModel(
        store,
        {
          schemaVersion: 1,
          name: input.name,
          bundle: { digest: stageDigest(bundle), manifest: bundle },
          lineage: {
            run: input.run,
            dataset: corpus.dataset,
            corpus: stageDigest(corpus),
            recipe: stageDigest(input.recipe),
            phases,
            exact,
            ...(input.parent && { parent: input.parent }),
            ...(input.base && { base: input.base }),
            ...(input.anchor && { anchor: input.anchor }),
          },
          evaluations,
        },
        deps.now(),
      );
      const champion = await readAlias(store, input.name, 'champion');
      return {
        version: version.version,
        reused,
        tokenizer: corpus.tokenizer.sha256,
        champion: champion?.version ?? null,
      };
    },

    /** Asks the endpoint's own workflow, starting it if need be, and waits until it has converged. */
    async requestDeployment(input: {
      endpoint: string;
      request: DeployRequest;
    }): Promise<DeployOutcome> {
      const { endpoint, request } = input;
      const startWorkflowOperation = new WithStartWorkflowOperation('deploymentWorkflow', {
        workflowId: `deployment/${endpoint}`,
        taskQueue: TaskQueue.control,
        args: [{ endpoint }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: `what ${endpoint} serves`,
      });
      const { workflowExecution, activityId } = Context.current().info;
      return await keepingAlive(
        () => ({ kind: 'deploy' }),
        async () => {
          try {
            return await deps.client.workflow.executeUpdateWithStart<
              Workflow,
              DeployOutcome,
              [DeployRequest]
            >('deployVersion', {
              args: [request],
              startWorkflowOperation,
              // A retry of this activity joins the update of the first attempt.
              updateId: `${workflowExecution?.runId ?? ''}-${activityId}`,
            });
          } catch (error) {
            throw error instanceof WorkflowUpdateFailedError ? finalFailure(error) : error;
          }
        },
      );
    },

    async declareVersion(input: DeployRequest & { endpoint: string }): Promise<Deployment> {
      const version = await getModel(store, input.model, input.version);
      if (version === null) {
        throw ApplicationFailure.nonRetryable(
          `${input.model}@${input.version} is not in the registry. npx temper models list shows what is.`,
          FailureType.InvalidConfig,
        );
      }
      const champion = await readAlias(store, input.model, 'champion');
      const { version: wanted, expectedChampion: expected } = input;
      // Before anything is served: what must not be champion needs no node.
      await refusingMoved(async () =>
        requireAlias(input.model, 'champion', champion, { version: wanted, expected }),
      );
      return await declareDeployment(store, {
        endpoint: input.endpoint,
        model: input.model,
        version: input.version,
        bundle: version.bundle.digest,
        declaredAt: deps.now().toISOString(),
        reason: input.reason,
      });
    },

    /** Makes a version the champion; where an endpoint serves the model, only what is served may be it. */
    async promoteModel(request: DeployRequest): Promise<void> {
      const { model, version, by, reason, expectedChampion: expected } = request;
      const move = { version, by, reason, now: deps.now(), expected };
      await refusingMoved(() => moveAlias(store, model, 'champion', move));
    },

    /**
     * Resolves when every node that lives serves the declared bundle; throws `ModelNotServable` when
     * one of them refuses the bundle. What else keeps a node from serving it is waited out.
     */
    async awaitConvergence(deployment: Deployment): Promise<{ url: string }> {
      const { endpoint, model, version, generation, bundle } = deployment;
      let progress: ConvergeProgress = { kind: 'converge', serving: 0, nodes: 0, trying: [] };
      return await keepingAlive(
        () => progress,
        async () => {
          for (;;) {
            try {
              const reports = livingReports(await readNodeReports(store, endpoint), deps.now());
              const refused = reports.find(({ failure }) => failure?.generation === generation);
              if (refused) {
                throw ApplicationFailure.nonRetryable(
                  `${endpoint} does not serve ${model}@${version}: ${refused.failure!.message}`,
                  FailureType.ModelNotServable,
                );
              }
              const serving = reports.filter(
                (report) => report.generation === generation && report.bundle === bundle,
              );
              const [first] = serving;
              if (first && serving.length === reports.length) return { url: first.url };
              const trying = reports.flatMap(({ node, trying }) =>
                trying?.generation === generation ? [`${node}: ${trying.message}`] : [],
              );
              progress = {
                kind: 'converge',
                serving: serving.length,
                nodes: reports.length,
                trying,
              };
            } catch (error) {
              // A store that is coming back may refuse its keys for a while.
              const away = error instanceof StoreUnreachable || error instanceof StoreRefused;
              if (!away) throw error;
              progress = { ...progress, trying: [error.message] };
            }
            heartbeat(progress);
            await Context.current().sleep(200);
          }
        },
      );
    },
  };
}
export type ReleaseActivities = ReturnType<typeof createReleaseActivities>;

/**
 * Asked again, an update that failed answers the same: no retry cures it. The workflow's own sentence lies
 * at the bottom of the chain of causes.
 */
function finalFailure(error: WorkflowUpdateFailedError): ApplicationFailure {
  let root: Error = error;
  while (root.cause instanceof Error) root = root.cause;
  const { type = null, details = null } = root instanceof ApplicationFailure ? root : {};
  return ApplicationFailure.nonRetryable(
    root.message,
    type != null && nonRetryableErrorTypes.includes(type) ? type : FailureType.ModelNotServable,
    ...(details ?? []),
  );
}

/** No retry moves the champion back; the failure says which version it is now. */
async function refusingMoved<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AliasMoved)) throw error;
    const { message, version } = error;
    throw ApplicationFailure.nonRetryable(message, FailureType.ChampionMoved, version);
  }
}

async function keepingAlive<T>(progress: () => unknown, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => heartbeat(progress()), 2000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
