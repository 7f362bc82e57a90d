/** A run of a name that nobody knows, answered with the nearest that somebody does. */
import type { Client } from '@temporalio/client';
import type { Store } from '../registry/store.ts';
import { ClientError } from './errors.ts';
import { nearest } from './nearest.ts';

export interface RunRequest {
  /** null when Temporal does not answer: S3 alone is asked. */
  temporal: Client | null;
  store: Store;
  run: string;
}

const mostNames = 1000;

/** The sentence for it, as an error to throw. */
export async function unknownRun({ temporal, store, run }: RunRequest): Promise<ClientError> {
  const names = new Set<string>();
  for await (const { key } of store.list('runs/')) names.add(key.split('/')[1] ?? '');
  if (temporal !== null) {
    const query = "WorkflowType = 'pipelineWorkflow'";
    for await (const { workflowId } of temporal.workflow.list({ query, pageSize: 200 })) {
      names.add(workflowId.replace(/^pipeline\//, ''));
      if (names.size > mostNames) break;
    }
  }
  const near = nearest(run, names);
  const hint = near === null ? 'npx temper status lists the runs.' : `Did you mean ${near}?`;
  const where = temporal === null ? ' Temporal does not answer, so only S3 was asked.' : '';
  return new ClientError('input', `run: found no "${run}". ${hint}${where}`);
}
