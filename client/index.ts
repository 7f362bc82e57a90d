/**
 * The public surface of the package `temper-client`: start runs, follow them, and see to models, from
 * any program. Whatever is not exported here may change without a word.
 */
import { describeMachine } from '../infra/machine.ts';
import type { Machine } from '../config/recipe.ts';
import type { Store } from '../registry/store.ts';
import {
  connectTemper,
  type StartRequest as FullStartRequest,
  type TemperClient as InnerClient,
} from './client.ts';
import type { ScheduleDetails, ScheduleRequest as FullScheduleRequest } from './schedules.ts';

/** The S3 bucket in which Temper remembers models, datasets and deployments. */
export interface RegistryOptions {
  /** Of an S3-compatible store; left out for AWS. */
  endpoint?: string | undefined;
  /** Left out: us-east-1. */
  region?: string | undefined;
  bucket: string;
  /** Left out: the keys that the AWS SDK finds on this host. */
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
}

/** Which Temper to talk to. Everything left out is read from the environment, as the command line does. */
export interface ConnectOptions {
  /**
   * `host:port` of the Temporal service. Left out: TEMPORAL_ADDRESS, or the profile of Temporal's own
   * configuration, with its TLS and API key.
   */
  address?: string | undefined;
  /** Temporal namespace; left out: TEMPORAL_NAMESPACE, else `default`. */
  namespace?: string | undefined;
  /**
   * Left out: TEMPER_S3_BUCKET, TEMPER_S3_ENDPOINT, TEMPER_S3_REGION and the AWS variables. Where these
   * are not set either, runs can be started and followed, and only `models` and `datasets` cannot be asked.
   */
  registry?: RegistryOptions | undefined;
}

/** What to run. */
export interface StartRequest extends Omit<FullStartRequest, 'machine'> {
  /** The machine that will train, which the planner plans for; left out: one like this. */
  machine?: Machine | undefined;
}

/** What to start, and when. */
export interface ScheduleRequest extends Omit<FullScheduleRequest, 'machine'> {
  /** The machine that will train; left out: one like this. */
  machine?: Machine | undefined;
}

/** A connection to a Temper. Everything that it does may be done again after a failure. */
export interface TemperClient extends Omit<InnerClient, 'startPipeline' | 'createSchedule'> {
  /** Starts a run and returns at once; throws PipelineFileError with every mistake of the file. */
  startPipeline(request: StartRequest): Promise<{ run: string; workflowId: string }>;
  /** Goes on from the champion at the times of a cron expression, whenever documents are new. */
  createSchedule(request: ScheduleRequest): Promise<ScheduleDetails>;
}

/**
 * Connects, or throws a ClientError that says what to do.
 *
 * @example
 * const temper = await connect({ address: '127.0.0.1:7233' });
 * const { run } = await temper.startPipeline({ pipeline: 'pipeline.yaml' });
 * for await (const status of temper.followStatus(run)) console.log(status.state);
 * await temper.close();
 */
export async function connect(options: ConnectOptions = {}): Promise<TemperClient> {
  const store = await openRegistry(options.registry ?? registryOf(process.env));
  const { address, namespace } = options;
  const client = await connectTemper({ address, namespace, store });
  return {
    ...client,
    startPipeline: ({ machine = describeMachine(), ...request }) =>
      client.startPipeline({ ...request, machine }),
    createSchedule: ({ machine = describeMachine(), ...request }) =>
      client.createSchedule({ ...request, machine }),
    async close() {
      store?.close();
      await client.close();
    },
  };
}

function registryOf(env: Record<string, string | undefined>): RegistryOptions | undefined {
  const set = (name: string) => (env[name] === '' ? undefined : env[name]);
  const endpoint = set('TEMPER_S3_ENDPOINT');
  const bucket = set('TEMPER_S3_BUCKET') ?? (endpoint === undefined ? undefined : 'temper');
  if (bucket === undefined) return undefined;
  return {
    endpoint,
    region: set('TEMPER_S3_REGION'),
    bucket,
    accessKeyId: set('AWS_ACCESS_KEY_ID'),
    secretAccessKey: set('AWS_SECRET_ACCESS_KEY'),
  };
}

/** The S3 library is loaded only by those who use it. */
async function openRegistry(options: RegistryOptions | undefined): Promise<Store | undefined> {
  if (options === undefined) return undefined;
  const { openStore } = await import('../registry/store.ts');
  return openStore({ ...options, region: options.region ?? 'us-east-1', patienceMs: 5000 });
}

// Methods that are added to TemperClient in client.ts are here by themselves; the types that they take
// and give, and new errors, are named below, each group under what it belongs to.

// Pipelines and runs.
export { newRunName } from './client.ts';
export type { FollowOptions, RunSummary } from './client.ts';
export type { ActivityProgress, LiveStatus } from './live-status.ts';
export type { FoundTraining, Recoverable, RecoverRequest } from './recover.ts';
export { parsePipeline, readPipelineFile } from './pipeline-file.ts';
export type { PipelineFile, PipelinePlaces } from './pipeline-file.ts';
export type { Pipeline } from '../config/pipeline.ts';
export type { Source } from '../config/sources.ts';
export type { Machine, Recipe } from '../config/recipe.ts';
export { describeMachine } from '../infra/machine.ts';
export { stageNames } from '../workflows/messages.ts';
export type {
  PipelineResult,
  RunDigests,
  RunNote,
  RunStatus,
  StageName,
  StageStatus,
  TrainingProgress,
} from '../workflows/messages.ts';
export type { EvaluationSummary } from '../config/manifests.ts';

// What people ask of a running run, and what is started by the clock.
export type { BudgetAnswer, Orders } from './orders.ts';
export type { BudgetOrder, BudgetTotals } from '../workflows/messages.ts';
export type { Schedule, ScheduleDetails, ScheduledStart, Schedules } from './schedules.ts';

// Datasets.
export type { DatasetGrowing, DatasetRequest, Datasets } from './dataset-growth.ts';
export type { DatasetGrowth, IngestResult } from '../config/ingest.ts';

// Models and deployments.
export type { ModelDetails, Models, ModelSummary, Rollback } from './models.ts';
export type { Deployment, ModelVersion } from '../config/manifests.ts';
export type { DeployOutcome } from '../config/deployment.ts';

// Errors.
export { ClientError, type ClientErrorKind } from './errors.ts';
export { PipelineFileError, type PipelineFault } from './pipeline-fault.ts';
export {
  ArtifactMismatch,
  InvalidRecord,
  StoreRefused,
  StoreUnreachable,
} from '../registry/errors.ts';
