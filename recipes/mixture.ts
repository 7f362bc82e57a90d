/** What a mix of sources is to the planner: the text of an epoch, what of it is distinct, and why it is read so. */
import type { CorpusManifest } from '../config/manifests.ts';
import type { Mixture } from '../config/mixture.ts';
import type { Reason } from '../config/recipe.ts';
import type { ReadText } from './loss.ts';

/** The text of a corpus that was made, and how hard it is to foretell. */
export function readOfCorpus({
  statistics: { numTokens, bytes, learningCurve },
  heldOut,
  mixture,
}: Pick<CorpusManifest, 'statistics' | 'heldOut' | 'mixture'>): ReadText {
  // The bytes that the tokens stand for: those of the held-out documents are not trained on.
  const once = { numTokens, bytes: Math.max(1, bytes - heldOut.bytes) };
  const read = mixture === undefined ? once : readOfMixture(mixture);
  return { ...read, ...(learningCurve && { learningCurve }) };
}

/** The tokens and bytes of an epoch of a mix, with the share of each source and the text that it gives. */
export function readOfMixture({ sources }: Mixture): ReadText {
  const read = sources.filter(({ epoch }) => epoch.numTokens > 0);
  const numTokens = read.reduce((sum, { epoch }) => sum + epoch.numTokens, 0);
  return {
    numTokens,
    bytes: read.reduce((sum, { epoch }) => sum + epoch.bytes, 0),
    mixture: read.map(({ source, epoch, used }) => ({
      source,
      share: epoch.numTokens / numTokens,
      numTokens: used.numTokens,
    })),
  };
}

/** Why an epoch holds so much of each source; none where nothing is mixed. */
export function mixtureReasons({ numTokens, mixture }: ReadText): Reason[] {
  if (mixture === undefined) return [];
  const percent = (share: number) => `${Number((share * 100).toFixed(1))} %`;
  const often = ({ source, share, numTokens: once }: (typeof mixture)[number]) =>
    `${source} ${timesWord(Number(((share * numTokens) / once).toFixed(2)))}`;
  return [
    {
      choice: 'mixture',
      value: mixture.map(({ source, share }) => `${source} ${percent(share)}`).join(', '),
      reason: `as the pipeline file asks; of the documents that it takes of a source, an epoch reads those of ${mixture.map(often).join(', ')}, and each source has repetitions of its own`,
      source: 'data.sources; Muennighoff et al. 2023',
    },
  ];
}

function timesWord(times: number): string {
  if (times === 1) return 'once';
  return times === 2 ? 'twice' : `${times} times`;
}
