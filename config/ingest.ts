/** What ingest says of a corpus: heard by workflows, and by whoever starts them. */

export interface IngestResult {
  dataset: { name: string; version: number; digest: string };
  numDocuments: number;
  /** Documents that the sample was taken from; left out where all are taken. */
  sampledFrom?: number;
  /** UTF-8 bytes of text. */
  bytes: number;
  /** Files and records that could not be read, by reason. */
  dropped: Record<string, number>;
  /** The same documents are registered already, under this version. */
  reused: boolean;
  /** What became of the version that was to grow; left out where the sources are the whole dataset. */
  growth?: DatasetGrowth;
}

/** A dataset version beside the one that it grew from. */
export interface DatasetGrowth {
  /** Null: there was none. */
  from: number | null;
  /** Documents that it has more. */
  numNew: number;
  /** Documents that were read and were there already. */
  numKnown: number;
  numShards: number;
  /** Shards that are the same bytes, and how many these are. */
  numShardsReused: number;
  bytesReused: number;
  bytesWritten: number;
}
