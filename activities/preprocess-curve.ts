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

export async function curveOf(
  store: Store,
  threads: ThreadPool,
  { shards, heldOut, vocabSize }: Pick<CorpusManifest, 'shards' | 'heldOut' | 'vocabSize'>,
): Promise<LearningCurve | null> {
  if (heldOut.numTokens === 0) return null;
  const every = Math.max(1, shards.length / mostShards);
  const number = Math.min(shards.length, mostShards);
  const taken = Array.from({ length: number }, (_, at) => shards[Math.floor(at * every)]!);
  const { curve } = await threads.run(
    'learningCurve',
    {
      shards: await inParallel(taken, async ({ tokens }) => readBlob(store, tokens)),
      heldOut: await readBlob(store, heldOut.tokens),
      heldOutBytes: heldOut.bytes,
      width: tokenWidth(vocabSize),
      vocabSize,
    },
    beatsOf('tokens'),
  );
  return curve;
}
