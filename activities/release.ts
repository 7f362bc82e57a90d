/** Registers a bundle as a model version, moves the alias, declares the deployment and waits for the nodes. */
import { ApplicationFailure, Context, heartbeat } from '@temporalio/activity';
import { WithStartWorkflowOperation, type Client, type Workflow } from '@temporalio/client';
import { FailureType } from '../config/failures.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  modelManifestSchema,
  type Deployment,
  type Evaluation,
} from '../config/manifests.ts';
import type { Phase, Recipe } from '../config/recipe.ts';
import { TaskQueue } from '../config/queues.ts';
import { declareDeployment, readNodeReports } from '../registry/deployments.ts';
import { getModel, moveAlias, readAlias, registerModel } from '../registry/models.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Deps } from './deps.ts';
import { requireStage } from './stage-records.ts';

export interface RegisterInput {
  run: string;
  name: string;
  corpus: string;
  recipe: Recipe;
  exported: string;
  phases: { phase: Phase; stage: string }[];
  evaluations: Record<string, Evaluation>;
}

export interface DeployRequest {
  model: string;
  version: number;
  by: string;
  reason: string;
}

export interface DeployOutcome {
  generation: number;
  bundle: string;
  url: string;
  /** From the declaration until every node served it. */
  convergedMs: number;
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
        });
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
          },
          evaluations: input.evaluations,
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
      return await keepingAlive(() =>
        deps.client.workflow.executeUpdateWithStart<Workflow, DeployOutcome, [DeployRequest]>(
          'deployVersion',
          {
            args: [request],
            startWorkflowOperation,
            // A retry of this activity joins the update of the first attempt.
            updateId: `${workflowExecution?.runId ?? ''}-${activityId}`,
          },
        ),
      );
    },

    async promoteModel(input: DeployRequest & { endpoint: string }): Promise<Deployment> {
      const version = await getModel(store, input.model, input.version);
      if (version === null) {
        throw ApplicationFailure.nonRetryable(
          `${input.model}@${input.version} is not in the registry. npx temper models list shows what is.`,
          FailureType.InvalidConfig,
        );
      }
      const now = deps.now();
      const { by, reason } = input;
      await moveAlias(store, input.model, 'champion', { version: input.version, by, reason, now });
      return await declareDeployment(store, {
        endpoint: input.endpoint,
        model: input.model,
        version: input.version,
        bundle: version.bundle.digest,
        declaredAt: now.toISOString(),
        reason,
      });
    },

    /**
     * Resolves when every node that reports serves the declared bundle; throws `ModelNotServable`
     * when a node says that it cannot.
     */
    async awaitConvergence(deployment: Deployment): Promise<{ url: string }> {
      const { endpoint, generation, bundle } = deployment;
      for (;;) {
        const reports = await readNodeReports(store, endpoint);
        const failure = reports.find(
          (report) => report.failure?.generation === generation,
        )?.failure;
        if (failure) {
          throw ApplicationFailure.nonRetryable(
            `${endpoint} does not serve ${deployment.model}@${deployment.version}: ${failure.message}`,
            FailureType.ModelNotServable,
          );
        }
        const serving = reports.filter(
          (report) => report.generation === generation && report.bundle === bundle,
        );
        const [first] = serving;
        if (first !== undefined && serving.length === reports.length) return { url: first.url };
        heartbeat({ kind: 'converge', serving: serving.length, nodes: reports.length });
        await Context.current().sleep(200);
      }
    },
  };
}
export type ReleaseActivities = ReturnType<typeof createReleaseActivities>;

async function keepingAlive<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => heartbeat({ kind: 'deploy' }), 2000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
