/** Measures how hard the text of a corpus is to foretell, from some of its shards; null where nothing is held out. */
import type { LearningCurve } from '../config/learning-curve.ts';
import type { CorpusManifest } from '../config/manifests.ts';
import { tokenWidth } from '../corpus/pack.ts';
import { readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf } from './preprocess-failures.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** Documents lie in random order, so a few shards speak for all. */
const mostShards = 16;

/** The numbers of the shards that are learnt from, ascending. */
function learntOf(numShards: number): number[] {
  const every = Math.max(1, numShards / mostShards);
  return Array.from({ length: Math.min(numShards, mostShards) }, (_, at) => Math.floor(at * every));
}

/** All shards, those that are learnt from before the others, so that learning can begin while these are encoded. */
export function learntFirst<Shard>(shards: readonly Shard[]): { learnt: Shard[]; others: Shard[] } {
  const numbers = new Set(learntOf(shards.length));
  return {
    learnt: shards.filter((_, number) => numbers.has(number)),
    others: shards.filter((_, number) => !numbers.has(number)),
  };
}

export async function curveOf(
  store: Store,
  threads: ThreadPool,
  { shards, heldOut, vocabSize }: Pick<CorpusManifest, 'shards' | 'heldOut' | 'vocabSize'>,
): Promise<LearningCurve | null> {
  if (heldOut.numTokens === 0) return null;
  const { curve } = await threads.run(
    'learningCurve',
    {
      shards: await inParallel(learntFirst(shards).learnt, async ({ tokens }) =>
        readBlob(store, tokens),
      ),
      heldOut: await readBlob(store, heldOut.tokens),
      heldOutBytes: heldOut.bytes,
      width: tokenWidth(vocabSize),
      vocabSize,
    },
    beatsOf('tokens'),
  );
  return curve;
}
