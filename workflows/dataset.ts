/**
 * A dataset version without a training run: the documents of some sources as the first one, or added to the newest.
 * One at a time for each dataset, for its name is in the id.
 */
import { log, proxyActivities, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { IngestActivities, IngestResult } from '../activities/ingest.ts';
import { ingesting } from './activity-options.ts';
import { describeDataset } from './describe.ts';
import type { DatasetInput } from './messages.ts';

const { ingestCorpus } = proxyActivities<IngestActivities>({
  ...ingesting,
  summary: 'read the documents into a dataset version',
});

export async function datasetWorkflow(input: DatasetInput): Promise<IngestResult> {
  const { name, sources, baseDir, onto } = input;
  // What the web gave is kept while this execution lasts, and asked for anew by the next one.
  const run = `dataset-${name}-${workflowInfo().firstExecutionRunId.slice(0, 8)}`;
  const made = await ingestCorpus({ run, name, sources, baseDir, onto });
  setCurrentDetails(describeDataset(made));
  const { version } = made.dataset;
  log.info('dataset version made', { runName: run, dataset: name, version, reused: made.reused });
  return made;
}
