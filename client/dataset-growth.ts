/** Datasets that are made and grow without a training run: `add` makes version 1, `append` the next one. */
import { WorkflowFailedError, type Client } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { IngestResult } from '../config/ingest.ts';
import { TaskQueue } from '../config/queues.ts';
import type { Source } from '../config/sources.ts';
import { latestDataset } from '../registry/datasets.ts';
import type { Store } from '../registry/store.ts';
import { workflowId, type DatasetInput } from '../workflows/messages.ts';
import { datasetAttribute } from '../workflows/search-attributes.ts';
import { ClientError, rootMessage } from './errors.ts';
import { findDataset } from './find-dataset.ts';
import { requireSmall } from './payload.ts';

export interface DatasetRequest {
  name: string;
  sources: Source[];
  /** Absolute folder that relative paths start from, on the machine of the data workers. */
  baseDir: string;
}

/** A version in the making, which needs nobody to wait for it. */
export interface DatasetGrowing {
  workflowId: string;
  /** Waits for the end; throws a ClientError that says why there is no version. */
  result: () => Promise<IngestResult>;
}

export interface Datasets {
  /** Makes version 1 of a dataset that there is not yet. */
  add(request: DatasetRequest): Promise<DatasetGrowing>;
  /** Makes the next version: everything of the newest, and what is new among the sources. */
  append(request: DatasetRequest): Promise<DatasetGrowing>;
}

/** The datasets part of the client; `reach` words what a service that is down throws. */
export function openDatasets(
  client: Client,
  store: () => Store,
  reach: <T>(work: () => Promise<T>) => Promise<T>,
): Datasets {
  return {
    add: (request) =>
      reach(async () => {
        refuseName(request.name);
        const there = await latestDataset(store(), request.name);
        if (there === null) return await grow(client, { ...request, onto: 0 }, reach);
        throw new ClientError(
          'input',
          `dataset: "${request.name}" exists, at version ${there.version}. To add documents to it: npx temper datasets append ${request.name} PATH. Or choose another name. Nothing was started.`,
        );
      }),

    append: (request) =>
      reach(async () => {
        const { version } = await newestOf(store(), request.name);
        return await grow(client, { ...request, onto: version }, reach);
      }),
  };
}

/** The newest version of a dataset that grows; throws a ClientError that says how to make one that there is not. */
export async function newestOf(store: Store, name: string) {
  refuseName(name);
  try {
    return await findDataset(store, name);
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const hint = `To make it: npx temper datasets add ${name} PATH --license internal.`;
    throw new ClientError('input', `${error.message} ${hint} Nothing was started.`, error);
  }
}

/** A name that no dataset could have is told before anything is looked up or started. */
export function refuseName(name: string): void {
  if (/^[a-z][a-z0-9-]{1,38}[a-z0-9]$/.test(name)) return;
  throw new ClientError(
    'input',
    `dataset: found ${JSON.stringify(name)}, expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter. Nothing was started.`,
  );
}

async function grow(
  client: Client,
  input: DatasetInput,
  reach: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<DatasetGrowing> {
  const { name, onto } = input;
  requireSmall(name, input);
  const id = workflowId.dataset(name);
  try {
    const handle = await client.workflow.start('datasetWorkflow', {
      workflowId: id,
      taskQueue: TaskQueue.control,
      args: [input],
      staticSummary:
        onto === 0 ? `${name}: its first version` : `${name}: more than version ${onto}`,
      typedSearchAttributes: [{ key: datasetAttribute, value: name }],
    });
    return { workflowId: id, result: () => reach(() => resultOf(name, handle)) };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new ClientError(
      'input',
      `dataset ${name}: documents are being read into it already, by ${id}. Try again when it has ended: npx temper datasets show ${name}. Nothing was started.`,
      error,
    );
  }
}

async function resultOf(
  name: string,
  handle: { result(): Promise<unknown> },
): Promise<IngestResult> {
  try {
    return (await handle.result()) as IngestResult;
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    throw new ClientError('failed', `dataset ${name}: ${rootMessage(error)}`, error);
  }
}
