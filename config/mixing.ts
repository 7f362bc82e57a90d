/** How often sources are to be read: what is wished, what comes of it, and which wishes contradict themselves. Workflows ask too, so without zod. */

/** A source, and what is wished of it. */
export interface MixedSource {
  name: string;
  weight?: number | undefined;
  repeat?: number | undefined;
}

/** Whether any source is read at another share, or another number of times, than it has by itself. */
export function isMixed(
  sources: readonly { weight?: number | undefined; repeat?: number | undefined }[],
): boolean {
  return sources.some(({ weight, repeat }) => weight !== undefined || repeat !== undefined);
}

/**
 * How often an epoch reads each source, on average over its documents. An epoch is the largest mix of the wanted shares
 * in which no source is read more often than its `repeat` allows; tokens are those of all its documents.
 */
export function timesRead(sources: readonly (MixedSource & { numTokens: number })[]): number[] {
  const most = sources.map(({ repeat = 1 }) => repeat);
  if (sources.every(({ weight }) => weight === undefined)) return most;
  const perWeight = Math.min(
    ...sources.map(({ weight = 1, numTokens }, at) => (most[at]! * numTokens) / weight),
  );
  return sources.map(({ weight = 1, numTokens }) =>
    numTokens === 0 ? 0 : (perWeight * weight) / numTokens,
  );
}

/** What of the wishes cannot be, with the number of the source. */
export function mixtureFaults(
  sources: readonly (MixedSource & { url?: string | undefined })[],
): { source: number; field: 'weight' | 'repeat'; message: string }[] {
  if (!isMixed(sources)) return [];
  const weighed = sources.findIndex(({ weight }) => weight !== undefined);
  const faults: ReturnType<typeof mixtureFaults> = [];
  const seen = new Set<string>();
  for (const [source, { name, weight, repeat, url }] of sources.entries()) {
    const field = weight === undefined && repeat !== undefined ? 'repeat' : 'weight';
    if (weighed >= 0 && weight === undefined) {
      const message = `expected a number, as ${sources[weighed]!.name} has one: a share is relative to the other sources`;
      faults.push({ source, field: 'weight', message });
    }
    // Which of the two a page comes from, its address does not tell.
    const place = url !== undefined && URL.canParse(url) ? new URL(url).origin : name;
    if (seen.has(place)) {
      const message = `expected sources of different ${url === undefined ? 'names' : 'hosts'} where one has a weight or a repeat: ${place} comes twice, and its documents could not be told apart`;
      faults.push({ source, field, message });
    }
    seen.add(place);
  }
  return faults;
}
