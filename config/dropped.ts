/** Where so much of a corpus is left out that a run stops: one rule and one wording, for the run and for whoever foresees it. */

/** Reasons of parts that could not be read of documents that are kept. */
const ofKept: ReadonlySet<string> = new Set(['pages_need_ocr', 'part_unreadable']);

/** Whether that reason is of a part, whose document is kept without it. */
export const isOfKept = (reason: string): boolean => ofKept.has(reason);

/** Documents of one corpus, each counted once. */
export interface DropCounts {
  /** That could be read. */
  numDocuments: number;
  kept: number;
  /** Of those that could be read, by reason. */
  dropped: Readonly<Record<string, number>>;
  /** What ingest could not read, by reason: documents, and parts of those that are kept. */
  unread: Readonly<Record<string, number>>;
}

export interface TooFew {
  /** Of the pipeline file. */
  field: 'data.maxDropped' | 'data.sources';
  message: string;
}

/** All that was found, and the share of it that is not kept. */
export function droppedShare({ numDocuments, kept, unread }: DropCounts): {
  numAll: number;
  share: number;
} {
  const numAll = Object.entries(unread)
    .filter(([reason]) => !isOfKept(reason))
    .reduce((sum, [, count]) => sum + count, numDocuments);
  return { numAll, share: numAll === 0 ? 0 : (numAll - kept) / numAll };
}

/** `too_short 30, empty 2`: most first, without the parts of documents that are kept. */
export function reasonsOf({ dropped, unread }: Pick<DropCounts, 'dropped' | 'unread'>): string {
  const counts = new Map(Object.entries(dropped));
  for (const [reason, count] of Object.entries(unread))
    counts.set(reason, (counts.get(reason) ?? 0) + count);
  return [...counts]
    .filter(([reason]) => !isOfKept(reason))
    .toSorted(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ');
}

/** `12.5 %`. */
export const percentOf = (share: number): string => `${Math.round(share * 1000) / 10} %`;

/** Why what is left cannot be what the operator meant; null: it can. */
export function tooFewKept(counts: DropCounts, maxDropped: number): TooFew | null {
  const { kept } = counts;
  const { numAll, share } = droppedShare(counts);
  const reasons = reasonsOf(counts);
  if (share > maxDropped) {
    return {
      field: 'data.maxDropped',
      message:
        `ingest and preprocess dropped ${numAll - kept} of ${numAll} documents, ${percentOf(share)} (${reasons}), ` +
        `expected at most ${percentOf(maxDropped)}. Correct the sources, set data.quality: false, or raise data.maxDropped.`,
    };
  }
  if (kept >= 2) return null;
  return {
    field: 'data.sources',
    message:
      `preprocess kept ${kept} of ${numAll} documents${reasons === '' ? '' : ` (${reasons})`}, expected at least 2: ` +
      'one to train on and one held out. Add documents, or give a long text as several files.',
  };
}

/** That the sample takes no document. */
export function nothingSampled(sample: number, numFound: number): string {
  const share = Number((sample * 100).toPrecision(4));
  return `data.sample: ${share}% of ${numFound} documents takes none. Raise it, or leave it out to take all.`;
}

/** That no file of the sources holds text. */
export function nothingReadable(
  { numFiles, names }: { numFiles: number; names: readonly string[] },
  unread: Readonly<Record<string, number>>,
): string {
  const reasons = reasonsOf({ dropped: {}, unread });
  return (
    `data.sources: found no readable text in ${numFiles} files of ${names.join(', ')}` +
    `${reasons === '' ? '' : ` (${reasons})`}, expected documents, tables, mail or web pages. Correct the sources.`
  );
}
