/** The figures of a corpus that was prepared before, from the registry. */
import { canonicalJson } from '../config/digest.ts';
import { corpusManifestSchema, type CorpusManifest } from '../config/manifests.ts';
import { isMixed } from '../config/mixing.ts';
import { mixedSources, type Source } from '../config/sources.ts';
import { readOfCorpus } from '../recipes/mixture.ts';
import { chatSizes, parseChats } from '../recipes/tuning.ts';
import { readBlob } from '../registry/blobs.ts';
import { readRecord } from '../registry/json.ts';
import type { Store } from '../registry/store.ts';
import type { CorpusFigures } from './corpus-figures.ts';

/**
 * The figures of the newest corpus that was made from a dataset of this name, or of this version where its digest is
 * given; null when there is none.
 */
export async function knownCorpus(
  store: Store,
  { name, digest }: { name: string; digest?: string },
  sources: readonly Source[],
): Promise<CorpusFigures | null> {
  const keys: { key: string; at: number }[] = [];
  for await (const { key, lastModified } of store.list('stages/preprocess/')) {
    keys.push({ key, at: lastModified.getTime() });
  }
  for (const { key } of keys.toSorted((a, b) => b.at - a.at)) {
    const manifest = (await readRecord(store, key, corpusManifestSchema))?.value;
    if (manifest === undefined || manifest.dataset.name !== name) continue;
    if (digest !== undefined && manifest.dataset.digest !== digest) continue;
    if (!isMixedSo(manifest, sources)) continue;
    const { statistics, instructions, dataset, mixture } = manifest;
    const known = mixture !== undefined || statistics.learningCurve !== undefined;
    return {
      ...(known && { read: readOfCorpus(manifest) }),
      origin: `measured when dataset ${dataset.name} version ${dataset.version} was preprocessed`,
      estimated: false,
      numDocuments: statistics.kept,
      numTokens: statistics.numTokens,
      bytes: Math.max(1, statistics.bytes - manifest.heldOut.bytes),
      heldOut: {
        numDocuments: manifest.heldOut.numDocuments,
        numTokens: manifest.heldOut.numTokens,
      },
      vocabSize: manifest.vocabSize,
      numChats: instructions?.numTrain ?? 0,
      numPreferences: instructions?.numPreferences ?? 0,
      chats: chatSizes(await chatsOf(store, instructions)),
    };
  }
  return null;
}

/** Whether a corpus reads its sources as often as is asked. */
function isMixedSo({ mixture }: CorpusManifest, sources: readonly Source[]): boolean {
  const asked = isMixed(sources) ? mixedSources(sources) : [];
  const had = (mixture?.sources ?? []).map(({ source, weight, repeat }) => ({
    name: source,
    ...(weight !== undefined && { weight }),
    ...(repeat !== undefined && { repeat }),
  }));
  return canonicalJson(asked) === canonicalJson(had);
}

async function chatsOf(store: Store, instructions: CorpusManifest['instructions']) {
  if (instructions === null) return [];
  return parseChats((await readBlob(store, instructions.train)).toString('utf8'));
}
