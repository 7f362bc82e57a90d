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
}
