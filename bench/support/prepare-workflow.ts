/** Reads sources and makes a corpus of them, as a run begins: for benchmarks and tests of the data workers alone. */
import { proxyActivities } from '@temporalio/workflow';
import type { IngestActivities, IngestInput } from '../../activities/ingest.ts';
import type { PreprocessInput, PreprocessResult } from '../../activities/preprocess-input.ts';
import { ingesting } from '../../workflows/activity-options.ts';
import { preprocessWorkflow } from '../../workflows/preprocess.ts';

const { ingestCorpus } = proxyActivities<IngestActivities>(ingesting);

/** What came of it. */
export interface Preparation {
  dataset: PreprocessInput['dataset'];
  preprocessed: PreprocessResult;
}

/** The dataset version and the corpus. */
export async function prepareWorkflow({
  ingest,
  data,
}: {
  ingest: IngestInput;
  data: PreprocessInput['data'];
}): Promise<Preparation> {
  const { dataset, dropped } = await ingestCorpus(ingest);
  const preprocessed = await preprocessWorkflow({
    run: ingest.run,
    dataset,
    data,
    questions: [],
    seed: 1,
    unread: dropped,
  });
  return { dataset, preprocessed };
}
