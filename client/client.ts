/**
 * The typed client: everything that may be asked of Temper or told to it, for programs and for the
 * command line alike. It decides nothing; workflows do.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { WorkflowFailedError, type Client } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/common';
import { datasetNameOf } from '../config/pipeline-data.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { TaskQueue } from '../config/queues.ts';
import type { Machine } from '../config/recipe.ts';
import { sourceName } from '../config/sources.ts';
import type { Store } from '../registry/store.ts';
import { workflowId, type PipelineInput, type PipelineResult } from '../workflows/messages.ts';
import { openDatasets, type Datasets } from './dataset-growth.ts';
import { isPassing, serviceFault, unreachable } from './connection-faults.ts';
import { openTemporal, type TemporalAddress } from './connection.ts';
import { ClientError, rootMessage } from './errors.ts';
import { readLiveStatus, type LiveStatus } from './live-status.ts';
import { openModels, type Models } from './models.ts';
import { nearest } from './nearest.ts';
import { openOrders, type Orders } from './orders.ts';
import { requireSmall } from './payload.ts';
import type { Recoverable, RecoverRequest } from './recover.ts';
import { readPipelineFile } from './pipeline-file.ts';
import { openRetention, type Retention } from './retention.ts';
import { openSchedules, type Schedules } from './schedules.ts';
import {
  datasetAttribute,
  modelAttribute,
  runAttribute,
  stageAttribute,
} from '../workflows/search-attributes.ts';

export interface StartRequest {
  /** Path of a pipeline file, or a parsed pipeline with the folder its source paths start from. */
  pipeline: string | { pipeline: Pipeline; baseDir: string };
  machine: Machine;
  /** Name of the run; left out, the pipeline's name and four random hex digits. */
  run?: string | undefined;
}

export interface RunSummary {
  run: string;
  state: string;
  stage: string | null;
  startedAt: number;
  endedAt: number | null;
}

export interface FollowOptions {
  /** Milliseconds between two looks. */
  everyMs?: number;
  /** Gives up when Temporal has not answered for so long. */
  patienceMs?: number;
  signal?: AbortSignal;
}

export interface TemperClient extends Orders, Retention, Schedules {
  address: string;
  namespace: string;
  models: Models;
  datasets: Datasets;
  startPipeline(request: StartRequest): Promise<{ run: string; workflowId: string }>;
  /** What S3 remembers of a run that Temporal has lost, to go on from; refuses one that goes on, or has finished. */
  findRecoverable(request: RecoverRequest): Promise<Recoverable>;
  /** Starts it again under its name: finished stages are found, training goes on from its newest checkpoint. */
  recover(found: Recoverable): Promise<{ run: string; workflowId: string }>;
  getStatus(run: string): Promise<LiveStatus>;
  /** Yields the status again and again until the run has ended; outlives restarts of Temporal. */
  followStatus(run: string, options?: FollowOptions): AsyncGenerator<LiveStatus>;
  /** Waits for the end; throws a ClientError that says why there is no result. */
  resultOf(run: string): Promise<PipelineResult>;
  cancel(run: string, reason: string): Promise<void>;
  /** Newest first. */
  listRuns(options?: { limit?: number }): Promise<RunSummary[]>;
  close(): Promise<void>;
}

export interface ConnectOptions extends TemporalAddress {
  /** The registry; without it, models cannot be asked for. */
  store?: Store | undefined;
}

const lastWordsMs = 15_000;

/** Connects to a stack, local or remote. */
export async function connectTemper(options: ConnectOptions = {}): Promise<TemperClient> {
  const { client, address, namespace } = await openTemporal(options);
  const store = () => {
    if (options.store !== undefined) return options.store;
    throw new ClientError(
      'input',
      'registry: none was given. Name its bucket when connecting, or in TEMPER_S3_BUCKET.',
    );
  };
  const reach = <T>(work: () => Promise<T>) => reachable(address, work);

  const models = openModels(client, store);
  const orders = openOrders({
    client,
    store,
    models,
    start: (input) => startRun(client, input, 'ALLOW_DUPLICATE'),
    explain: (run, error) => explain(client, run, error),
  });

  return {
    address,
    namespace,
    models: guarded(models, reach),
    datasets: openDatasets(client, store, reach),
    addBudget: (run, order) => reach(() => orders.addBudget(run, order)),
    approve: (reference, told) => reach(() => orders.approve(reference, told)),
    pause: (run, told) => reach(() => orders.pause(run, told)),
    setLearningRate: (run, wish) => reach(() => orders.setLearningRate(run, wish)),
    unpause: (run, told) => reach(() => orders.unpause(run, told)),

    ...openRetention(client, reach),
    ...openSchedules(client, reach),

    startPipeline: (request) => reach(() => startPipeline(client, request)),

    findRecoverable: (request) =>
      reach(async () => {
        // Loaded by those alone who recover: it reads more of the registry than a client needs.
        const recovering = await import('./recover.ts');
        return await recovering.findRecoverable(client, store(), request);
      }),

    recover: ({ input }) => reach(() => startRun(client, input, 'ALLOW_DUPLICATE_FAILED_ONLY')),

    getStatus: (run) =>
      reach(() => readLiveStatus(client, run).catch((error) => explain(client, run, error))),

    followStatus: (run, follow) => followStatus(client, address, run, follow),

    async resultOf(run) {
      const handle = client.workflow.getHandle<() => Promise<PipelineResult>>(
        workflowId.pipeline(run),
      );
      try {
        return await reach(() => handle.result());
      } catch (error) {
        if (error instanceof WorkflowFailedError) {
          throw new ClientError('failed', `run ${run}: ${rootMessage(error)}`, error);
        }
        return explain(client, run, error);
      }
    },

    cancel: (run, reason) =>
      reach(async () => {
        const id = workflowId.pipeline(run);
        try {
          const { status } = await client.workflow.getHandle(id).describe();
          if (status.name !== 'RUNNING') {
            const state = status.name.toLowerCase();
            throw new ClientError('input', `run ${run} has ended (${state}): nothing to cancel.`);
          }
          await client.workflowService.requestCancelWorkflowExecution({
            namespace,
            workflowExecution: { workflowId: id },
            requestId: randomUUID(),
            reason,
          });
        } catch (error) {
          await explain(client, run, error);
        }
      }),

    listRuns: ({ limit = 50 } = {}) => reach(() => listRuns(client, limit)),

    close: () => client.connection.close(),
  };
}

/** A name for a new run: unique enough, and short enough to type. */
export function newRunName(pipelineName: string): string {
  return `${pipelineName}-${randomBytes(2).toString('hex')}`;
}

async function startPipeline(client: Client, request: StartRequest) {
  const { pipeline, baseDir } =
    typeof request.pipeline === 'string'
      ? await readPipelineFile(request.pipeline)
      : request.pipeline;
  const run = request.run ?? newRunName(pipeline.name);
  if (!/^[a-z][a-z0-9-]{1,59}$/.test(run)) {
    throw new ClientError(
      'input',
      `run: found ${JSON.stringify(run)}, expected 2 to 60 lowercase letters, digits or hyphens. Nothing was started.`,
    );
  }
  const input: PipelineInput = { run, pipeline, baseDir, machine: request.machine };
  return await startRun(client, input, 'REJECT_DUPLICATE');
}

async function startRun(
  client: Client,
  input: PipelineInput,
  workflowIdReusePolicy: 'REJECT_DUPLICATE' | 'ALLOW_DUPLICATE_FAILED_ONLY' | 'ALLOW_DUPLICATE',
) {
  const { run, pipeline } = input;
  requireSmall(pipeline.name, input);
  const id = workflowId.pipeline(run);
  try {
    await client.workflow.start('pipelineWorkflow', {
      workflowId: id,
      taskQueue: TaskQueue.control,
      args: [input],
      workflowIdReusePolicy,
      staticSummary: `${pipeline.name}: ${pipeline.goal} model from ${sourceNames(pipeline)}`,
      typedSearchAttributes: [
        { key: runAttribute, value: run },
        { key: modelAttribute, value: pipeline.name },
        { key: datasetAttribute, value: datasetNameOf(pipeline) },
        { key: stageAttribute, value: 'ingest' },
      ],
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new ClientError(
      'input',
      `run: "${run}" is taken. Watch it: npx temper status ${run} --watch, or choose another name.`,
      error,
    );
  }
  return { run, workflowId: id };
}

function sourceNames(pipeline: Pipeline): string {
  const { sources, dataset } = pipeline.data;
  const names = sources?.map(sourceName) ?? [`dataset ${dataset}`];
  const text = names.join(', ');
  return text.length > 120 ? `${text.slice(0, 117)}…` : text;
}

async function* followStatus(
  client: Client,
  address: string,
  run: string,
  { everyMs = 500, patienceMs = 120_000, signal }: FollowOptions = {},
): AsyncGenerator<LiveStatus> {
  let last: LiveStatus | null = null;
  let lastAnswer = Date.now();
  let endedAt: number | null = null;
  while (signal?.aborted !== true) {
    try {
      last = await client.connection.withDeadline(Date.now() + 10_000, () =>
        readLiveStatus(client, run, last),
      );
      lastAnswer = Date.now();
    } catch (error) {
      if (!isPassing(error)) {
        await explain(client, run, serviceFault(address, error) ?? error);
      }
      if (last === null || Date.now() - lastAnswer > patienceMs) throw unreachable(address, error);
      last = { ...last, stale: 'Temporal does not answer' };
    }
    yield last;
    if (last.state !== 'running') {
      endedAt ??= Date.now();
      // An ended run whose last words are missing is asked again: a worker will come back.
      if (last.stale === null || Date.now() - endedAt > lastWordsMs) return;
    }
    await pause(everyMs, signal);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
  });
}

async function listRuns(client: Client, limit: number): Promise<RunSummary[]> {
  const runs: RunSummary[] = [];
  const query = "WorkflowType = 'pipelineWorkflow'";
  for await (const info of client.workflow.list({ query, pageSize: limit })) {
    const closed = info.closeTime?.getTime() ?? null;
    runs.push({
      run: info.workflowId.replace(/^pipeline\//, ''),
      state: info.status.name === 'COMPLETED' ? 'finished' : info.status.name.toLowerCase(),
      stage: info.typedSearchAttributes.get(stageAttribute) ?? null,
      startedAt: info.startTime.getTime(),
      endedAt: closed,
    });
    if (runs.length === limit) break;
  }
  return runs.toSorted((a, b) => b.startedAt - a.startedAt);
}

/** Rethrows, and turns an unknown run into a sentence that names the nearest one. */
async function explain(client: Client, run: string, error: unknown): Promise<never> {
  if (!(error instanceof WorkflowNotFoundError)) throw error;
  const runs = await listRuns(client, 100);
  const names = runs.map((summary) => summary.run);
  const near = nearest(run, names);
  const hint = near === null ? 'npx temper status lists the runs.' : `Did you mean ${near}?`;
  throw new ClientError('input', `run: found no "${run}". ${hint}`, error);
}

/** Turns what a service that is down throws into the one sentence that helps. */
async function reachable<T>(address: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw serviceFault(address, error) ?? error;
  }
}

function guarded(models: Models, reach: <T>(work: () => Promise<T>) => Promise<T>): Models {
  return {
    list: () => reach(() => models.list()),
    show: (reference) => reach(() => models.show(reference)),
    rollback: (model, options) => reach(() => models.rollback(model, options)),
    promote: (reference, options) => reach(() => models.promote(reference, options)),
  };
}
