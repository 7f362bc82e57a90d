/** The documents that a pipeline file names: its sources, read into a dataset version, or a version that is there. */
import type { IngestActivities } from '../activities/ingest.ts';
import type { IngestResult } from '../config/ingest.ts';
import type { Pipeline } from '../config/pipeline.ts';

export async function readDocuments(
  { run, pipeline, baseDir }: { run: string; pipeline: Pipeline; baseDir: string },
  { findDataset, ingestCorpus }: Pick<IngestActivities, 'findDataset' | 'ingestCorpus'>,
): Promise<IngestResult> {
  const { sources = [], dataset, sample, originals } = pipeline.data;
  if (dataset !== undefined) return await findDataset({ run, dataset });
  return await ingestCorpus({
    run,
    name: pipeline.name,
    sources,
    baseDir,
    ...(sample < 1 && { sample }),
    ...(originals && { originals }),
  });
}
