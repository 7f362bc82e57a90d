/** What the daily sweep of expired documents says: heard by its workflow, and by whoever starts it. */

interface VersionName {
  name: string;
  version: number;
}

export interface RetentionReport {
  /** Versions whose documents are deleted now; those that would be, where nothing is to be changed. */
  expired: VersionName[];
  /** Versions whose time is over, but that a run at work has read. */
  held: VersionName[];
  /** Runs at work whose reading is waited for: no deletion begins meanwhile. */
  waitsFor: string[];
  numBlobs: number;
  /** As they are stored. */
  bytes: number;
  /** Of the blobs, those of readings that became no version. */
  numUnregistered: number;
  /** Of what has expired, blobs that others refer to as well, and that stay. */
  numShared: number;
}
