/**
 * Ingest and preprocessing on so many data workers, one of which is killed in the middle: on a Temporal server and an
 * object store of their own, a namespace and a bucket for each preparation, so that nothing of one is found by another.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import {
  bundleWorkflowCode,
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkflowBundle,
} from '@temporalio/worker';
import { execa } from 'execa';
import type { IngestInput } from '../../activities/ingest.ts';
import type { PreprocessInput } from '../../activities/preprocess-input.ts';
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
  type Document,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { TaskQueue } from '../../config/queues.ts';
import { node, projectDir, python } from '../../infra/layout.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { getDataset } from '../../registry/datasets.ts';
import { findStage } from '../../registry/stages.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { startS3, type TestS3 } from '../../test/support/s3.ts';
import type { Preparation, prepareWorkflow } from './prepare-workflow.ts';

/** What is prepared, on how many workers, and before which write one of them dies (see `mortal-worker.ts`). */
export interface Attempt {
  numWorkers: number;
  diesBefore: string;
  sources: IngestInput['sources'];
  baseDir: string;
  data: PreprocessInput['data'];
}

export interface Prepared {
  dataset: DatasetManifest;
  corpus: string;
  manifest: CorpusManifest;
  /** Where each document is from that ingest read. */
  sources: string[];
  /** By ingest, then by preprocessing. */
  dropped: DroppedDocument[];
  /** Workers that were ended by SIGKILL while they worked. */
  numKilled: number;
  seconds: number;
}

export interface Ground {
  prepare: (attempt: Attempt) => Promise<Prepared>;
  stop: () => Promise<void>;
}

/** Starts the servers, for so many preparations side by side. */
export async function startGround(numPreparations: number): Promise<Ground> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const folder = mkdtempSync(path.join(tmpdir(), 'temper-kills-'));
  const names = Array.from({ length: numPreparations }, (_, index) => `prepare-${index + 1}`);
  const executable = path.join(path.dirname(python), 'temporal');
  const [env, s3, bundle] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: executable },
        extraArgs: names.flatMap((name) => ['--namespace', name]),
      },
    }),
    startS3(),
    bundleWorkflowCode({
      workflowsPath: path.join(import.meta.dirname, 'prepare-workflow.ts'),
      logger: new DefaultLogger('ERROR'),
    }),
  ]);
  return {
    async prepare(attempt) {
      const name = names.shift();
      if (name === undefined) throw new Error(`found more than ${numPreparations} preparations`);
      const home = path.join(folder, name);
      mkdirSync(path.join(home, 'deaths'), { recursive: true });
      return await prepareIn({ name, home, address: env.address, s3, bundle }, attempt);
    },
    async stop() {
      await env.teardown();
      await s3.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Place {
  name: string;
  home: string;
  address: string;
  s3: TestS3;
  bundle: WorkflowBundle;
}

async function prepareIn(place: Place, attempt: Attempt): Promise<Prepared> {
  const { name, address, s3, bundle } = place;
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const store = openStore({
    endpoint,
    region: 'us-east-1',
    bucket: name,
    accessKeyId,
    secretAccessKey,
  });
  await store.ensureBucket();
  const fleet = startFleet(place, attempt);
  const nativeConnection = await NativeConnection.connect({ address });
  const connection = await Connection.connect({ address });
  const began = performance.now();
  try {
    const workflows = await Worker.create({
      connection: nativeConnection,
      namespace: name,
      taskQueue: TaskQueue.control,
      workflowBundle: bundle,
    });
    const { sources, baseDir, data } = attempt;
    const client = new Client({ connection, namespace: name });
    const made = await workflows.runUntil(
      client.workflow.execute<typeof prepareWorkflow>('prepareWorkflow', {
        taskQueue: TaskQueue.control,
        workflowId: `prepare/${name}`,
        args: [{ ingest: { run: 'r', name: 'every-format', sources, baseDir }, data }],
      }),
    );
    const seconds = (performance.now() - began) / 1000;
    return { ...(await gathered(store, made)), numKilled: fleet.numKilled(), seconds };
  } finally {
    await fleet.stop();
    await connection.close();
    await nativeConnection.close();
    store.close();
  }
}

/** The workers of one preparation; when none is left, another starts, as under a supervisor. */
function startFleet({ name, home, address, s3 }: Place, attempt: Attempt) {
  const living = new Set<ReturnType<typeof start>>();
  let stopped = false;
  let numStarted = 0;
  let numKilled = 0;
  const start = () => {
    const host = `data-${(numStarted += 1)}`;
    return execa(node, [path.join(import.meta.dirname, 'mortal-worker.ts')], {
      cwd: projectDir,
      env: {
        TEMPORAL_ADDRESS: address,
        TEMPORAL_NAMESPACE: name,
        TEMPER_HOME: path.join(home, host),
        TEMPER_HOST: host,
        TEMPER_PYTHON: python,
        TEMPER_S3_ENDPOINT: s3.endpoint,
        TEMPER_S3_BUCKET: name,
        AWS_ACCESS_KEY_ID: s3.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
        // The store was tried out when it was started.
        TEMPER_STACK_HOME: home,
        TEMPER_LOG_LEVEL: 'error',
        TEMPER_DIES_BEFORE: attempt.diesBefore,
        TEMPER_DEATHS: path.join(home, 'deaths'),
      },
      stdout: 'ignore',
      stderr: 'inherit',
      reject: false,
    });
  };
  const add = (): void => {
    const worker = start();
    living.add(worker);
    void worker.then(({ signal }) => {
      living.delete(worker);
      if (stopped) return;
      if (signal === 'SIGKILL') numKilled += 1;
      if (living.size === 0) add();
    });
  };
  for (let index = 0; index < attempt.numWorkers; index += 1) add();
  return {
    numKilled: () => numKilled,
    async stop() {
      stopped = true;
      for (const worker of living) worker.kill('SIGKILL');
      await Promise.all(living);
    },
  };
}

async function gathered(
  store: Store,
  { dataset: ref, preprocessed }: Preparation,
): Promise<Omit<Prepared, 'numKilled' | 'seconds'>> {
  const { corpus } = preprocessed;
  const dataset = await getDataset(store, ref.name, ref.version);
  const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  if (dataset === null || manifest === null) throw new Error('found no corpus, expected one');
  const sources: string[] = [];
  for (const { documents } of dataset.shards) {
    for (const { source } of (await readJsonLines(store, documents)) as Document[])
      sources.push(source);
  }
  const dropped: DroppedDocument[] = [];
  for (const ref of [dataset.droppedDocuments, manifest.droppedDocuments]) {
    if (ref !== null) dropped.push(...((await readJsonLines(store, ref)) as DroppedDocument[]));
  }
  return { dataset, corpus, manifest, sources, dropped };
}
