/**
 * Deletes the documents that have expired: asks which runs are at work, then sweeps the registry. What uploads of
 * killed processes left in the store goes too.
 */
import { log } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { unitMs } from '../config/durations.ts';
import type { RetentionReport } from '../config/retention.ts';
import { runInputsSchema, runSpecSchema } from '../config/run-records.ts';
import { expireDatasets, type InUse } from '../registry/expiry.ts';
import { getRunRecord } from '../registry/runs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { withHeartbeats } from './heartbeats.ts';
import { withFailures } from './preprocess-failures.ts';

/** The upload of a checkpoint takes minutes; one that began so long ago has nobody to end it. */
const longestUploadMs = unitMs.d;

export interface SweepInput {
  /** Says what would be deleted, and deletes nothing. */
  dryRun?: boolean;
}

export function createRetentionActivities(deps: Deps & { client: Pick<Client, 'workflow'> }) {
  const { store, client } = deps;
  return {
    async sweepExpired({ dryRun = false }: SweepInput): Promise<RetentionReport> {
      return withFailures(async () =>
        withHeartbeats({ kind: 'expiry' }, async () => {
          const inUse = await readersAtWork(client, store);
          const report = await expireDatasets(store, { now: deps.now(), inUse, dryRun });
          if (!dryRun) await abandonUploads(deps);
          return report;
        }),
      );
    },
  };
}
/** Some stores cannot list them; nothing depends on it. */
async function abandonUploads({ store, now }: Deps): Promise<void> {
  try {
    const numUploads = await store.abandonUploads(new Date(now().getTime() - longestUploadMs));
    if (numUploads > 0) log.info('removed what uploads of killed processes left', { numUploads });
  } catch (error) {
    log.warn('unfinished uploads are not removed', { error });
  }
}

export type RetentionActivities = ReturnType<typeof createRetentionActivities>;

/** Workflows that read documents. */
const readers = ['pipelineWorkflow', 'continuousPretrainingWorkflow', 'datasetWorkflow'];

/** What runs at work have read, and which of them read or preprocess now. */
async function readersAtWork(client: Pick<Client, 'workflow'>, store: Store): Promise<InUse> {
  const types = readers.map((type) => `'${type}'`).join(', ');
  const query = `ExecutionStatus = 'Running' AND WorkflowType IN (${types})`;
  const ids: string[] = [];
  for await (const { workflowId } of client.workflow.list({ query })) ids.push(workflowId);
  const versions: { name: string; version: number }[] = [];
  const reading: string[] = [];
  for (const id of ids) {
    const [, kind, name = ''] = /^(pipeline|continuous)\/(.+)$/.exec(id) ?? [];
    if (kind === 'pipeline') {
      const spec = await getRunRecord(store, name, 'spec', runSpecSchema).catch(() => null);
      const inputs = await getRunRecord(store, name, 'inputs', runInputsSchema).catch(() => null);
      const dataset = inputs?.ingested?.dataset ?? spec?.ingested?.dataset;
      if (dataset !== undefined) versions.push({ name: dataset.name, version: dataset.version });
      // Until its corpus is made, what it finds in the store it may refer to next.
      if (dataset === undefined || inputs?.corpus === undefined) reading.push(id);
    } else if (!hasRun(id, ids)) {
      reading.push(id);
    }
  }
  return { versions, reading };
}

/** A scheduled start reads before it starts its run, which is named after it and its time. */
function hasRun(id: string, ids: readonly string[]): boolean {
  const [, schedule, day, hours, minutes] =
    /^continuous\/(.*)-(\d{4}-\d\d-\d\d)T(\d\d):(\d\d)/.exec(id) ?? [];
  const run =
    schedule === undefined
      ? `${id.replace('continuous/', 'pipeline/')}-`
      : `pipeline/${schedule}-${day}t${hours}-${minutes}`;
  return ids.some((other) => other.startsWith(run));
}
