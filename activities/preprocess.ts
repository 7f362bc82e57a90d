/**
 * Preprocess: a dataset version becomes a corpus that a model can be trained on. Every activity is a
 * function of digests, recorded under the digest of its inputs, so a retry or a second run looks it up.
 */
import { ApplicationFailure } from '@temporalio/activity';
import type { ConversationsRead } from '../config/conversations.ts';
import { nearOf, usualNear } from '../config/deduplication.ts';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../config/manifests.ts';
import { mixedSources } from '../config/sources.ts';
import { isUsual } from '../corpus/minhash.ts';
import { tokenWidth } from '../corpus/pack.ts';
import { chooseVocabSize } from '../recipes/vocabulary.ts';
import { getDataset } from '../registry/datasets.ts';
import { requireUnexpired } from '../registry/expiry.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { cleanDocuments } from './preprocess-clean.ts';
import { gramsOfSets, type EvaluationSetsRead } from './preprocess-contamination.ts';
import { readConversationFiles } from './preprocess-conversations.ts';
import { joinBuckets, mergeFingerprints, refuseIfTooFew } from './preprocess-duplicates.ts';
import { compressionOf, importedTokenizer } from './preprocess-compression.ts';
import { curveOf, learntFirst } from './preprocess-curve.ts';
import { encodeDocuments, trainOnText } from './preprocess-encode.ts';
import { mixSources } from './preprocess-mix.ts';
import { takeTokenizerFile } from './preprocess-tokenizer.ts';
import { parseInput, progress, withFailures } from './preprocess-failures.ts';
import {
  cleanShardsInputSchema,
  encodeShardsInputSchema,
  finishCorpusInputSchema,
  keptTokenizerSchema,
  measureCorpusInputSchema,
  mixCorpusInputSchema,
  preprocessInputSchema,
  readConversationsInputSchema,
  readEvaluationSetsInputSchema,
  resolveDuplicatesInputSchema,
  shuffleInputSchema,
  splitCorpusInputSchema,
  takeTokenizerInputSchema,
  trainTokenizerInputSchema,
  type CleanShardsInput,
  type DatasetRef,
  type EncodeShardsInput,
  type FinishCorpusInput,
  type KeptTokenizer,
  type MeasureCorpusInput,
  type MixCorpusInput,
  type PreprocessInput,
  type PreprocessResult,
  type ReadConversationsInput,
  type ReadEvaluationSetsInput,
  type ResolveDuplicatesInput,
  type Shuffle,
  type ShuffleInput,
  type SplitCorpusInput,
  type TakeTokenizerInput,
  type TrainTokenizerInput,
} from './preprocess-input.ts';
import {
  cleanShardSchema,
  deduplicatedSchema,
  encodedShardSchema,
  measuredSchema,
  mixedSchema,
  resolvedBucketSchema,
  scatteredSchema,
  splitSchema,
  tokenizerSchema,
  type CleanShard,
  type EncodedShard,
  type Measured,
  type Mixed,
  type ResolvedBucket,
  type Scattered,
  type Split,
  type TrainedTokenizer,
} from './preprocess-records.ts';
import { inParallel } from './preprocess-parallel.ts';
import { groupSize, resolveRecords, scatterShards, shuffleFor } from './preprocess-shuffle.ts';
import { splitDocuments } from './preprocess-split.ts';
import { ThreadPool } from './preprocess-threads.ts';
import { requireStage } from './stage-records.ts';

/** Files whose change makes another corpus of the same documents: what this worker runs itself … */
const loadedSources = [
  'corpus/**/*.ts',
  'config/personal-data.ts',
  'config/cleaning.ts',
  'config/deduplication.ts',
  'config/cleaning-thresholds.ts',
  'config/conversations.ts',
  'config/languages.ts',
  'config/mixture.ts',
  'config/mixing.ts',
  'config/token-bytes.ts',
  'activities/preprocess*.ts',
  'recipes/vocabulary.ts',
  'node_modules/tokenizers/package.json',
  'node_modules/eld/package.json',
];
/** … and what it starts to train a tokenizer. */
const tokenizerSources = [
  'trainer/tokenizer.py',
  'trainer/unigram.py',
  'trainer/special_tokens.py',
  'requirements.txt',
];

/** Shards of one activity at most in a corpus of some hundred: scheduling an activity costs as much as cleaning a shard. */
const shardsPerActivity = 4;
/** Shards of an activity that are at work at once: while one is read or put, a thread has the other. */
const shardsAtOnce = 2;
/** Of one run: its dataset, split and tokenizer. */
const maxRemembered = 6;

/**
 * The threads start when they are needed and end with the process. Above `shardsTogether` shards, fingerprints are
 * shuffled; what comes of it is the same.
 */
export function createPreprocessActivities(
  deps: Deps,
  threads = new ThreadPool(),
  shardsTogether = groupSize,
) {
  const { store } = deps;
  const code = codeVersion(deps.projectDir, loadedSources);
  threads.checkCode(() => codeVersion(deps.projectDir, loadedSources) === code);
  const tokenizerCode = (): string => codeVersion(deps.projectDir, tokenizerSources);

  // Every activity of a fan-out reads the same few manifests, which never change.
  const manifests = new Map<string, unknown>();
  async function remembered<T>(key: string, read: () => Promise<T>): Promise<T> {
    const known = manifests.get(key);
    if (known !== undefined) return known as T;
    const value = await read();
    if (manifests.size >= maxRemembered) manifests.delete(manifests.keys().next().value!);
    manifests.set(key, value);
    return value;
  }

  async function datasetOf({ name, version, digest }: DatasetRef): Promise<DatasetManifest> {
    return remembered(`dataset ${name} ${version} ${digest}`, async () => {
      const dataset = await getDataset(store, name, version);
      if (dataset?.digest === digest) return dataset;
      throw ApplicationFailure.nonRetryable(
        `dataset ${name} version ${version}: found ${dataset === null ? 'nothing' : dataset.digest}, ` +
          `expected ${digest}. Restore the bucket, or start the run again.`,
        FailureType.ArtifactMismatch,
      );
    });
  }

  const cleanKey = (
    documents: BlobRef,
    { personalData, quality, clean, grams, languages, deduplicate }: CleanShardsInput['data'],
  ): string => {
    const { bands, rows } = nearOf(deduplicate);
    return stageDigest({
      documents,
      personalData,
      quality,
      ...(clean !== undefined && { clean }),
      ...(languages !== undefined && { languages }),
      ...(grams !== undefined && { grams }),
      ...(!isUsual({ bands, rows }) && { near: { bands, rows } }),
      code,
    });
  };

  async function cleanedShard(
    documents: BlobRef,
    data: CleanShardsInput['data'],
  ): Promise<CleanShard> {
    const key = cleanKey(documents, data);
    const found = await findStage(store, 'clean-shard', key, cleanShardSchema);
    if (found !== null) return found;
    const made = await cleanDocuments(store, threads, documents, data);
    return recordStage(store, 'clean-shard', key, cleanShardSchema, made);
  }

  type Shards = DatasetManifest['shards'];
  type Data = CleanShardsInput['data'];

  /** Computed once for all that one activity asks: there are as many as shards. */
  function keysOf(shards: Shards, data: Data): string[] {
    return shards.map(({ documents }) => cleanKey(documents, data));
  }

  /** Shards, and the keys of what cleaning makes of them. */
  interface Keyed {
    shards: Shards;
    keys: readonly string[];
    data: Data;
  }

  async function scattered(
    { shards, keys, data }: Keyed,
    { groupSize, numBuckets }: Shuffle,
    group: number,
  ): Promise<Scattered> {
    const firstShard = group * groupSize;
    const cleaned = keys.slice(firstShard, firstShard + groupSize);
    const key = stageDigest({ cleaned, firstShard, numBuckets });
    const found = await findStage(store, 'scatter', key, scatteredSchema);
    if (found !== null) return found;
    const mine = shards.slice(firstShard, firstShard + groupSize);
    const records = await inParallel(mine, async ({ documents }) => cleanedShard(documents, data));
    const made = await scatterShards(store, threads, records, firstShard, numBuckets);
    return recordStage(store, 'scatter', key, scatteredSchema, made);
  }

  async function resolvedBucket(
    keyed: Keyed,
    shuffle: Shuffle,
    bucket: number,
  ): Promise<ResolvedBucket> {
    const key = stageDigest({ cleaned: keyed.keys, shuffle, bucket });
    const found = await findStage(store, 'bucket', key, resolvedBucketSchema);
    if (found !== null) return found;
    const numGroups = Math.ceil(keyed.shards.length / shuffle.groupSize);
    const parts = await inParallel([...Array(numGroups).keys()], async (group) => {
      const { buckets } = await scattered(keyed, shuffle, group);
      return buckets[bucket]!;
    });
    const made = await resolveRecords(store, threads, parts);
    return recordStage(store, 'bucket', key, resolvedBucketSchema, made);
  }

  async function bucketsOf(keyed: Keyed, shuffle: Shuffle) {
    let done = 0;
    return inParallel([...Array(shuffle.numBuckets).keys()], async (bucket) => {
      const resolved = await resolvedBucket(keyed, shuffle, bucket);
      await progress('buckets', (done += 1), shuffle.numBuckets);
      return resolved;
    });
  }

  async function encodedShard(
    documents: BlobRef,
    tokenizer: TrainedTokenizer,
  ): Promise<EncodedShard> {
    const tokenBytes = tokenWidth(tokenizer.vocabSize);
    const key = stageDigest({
      documents,
      tokenizer: tokenizer.tokenizer,
      code,
      // A trained tokenizer needs two; one that is kept goes with a model of any vocabulary.
      ...(tokenBytes > 2 && { tokenBytes }),
    });
    const found = await findStage(store, 'encode-shard', key, encodedShardSchema);
    if (found !== null) return found;
    const made = await encodeDocuments(store, threads, documents, tokenizer);
    return recordStage(store, 'encode-shard', key, encodedShardSchema, made);
  }

  async function encodedHeldOut(
    { heldOut }: Split,
    tokenizer: TrainedTokenizer,
  ): Promise<CorpusManifest['heldOut']> {
    const { tokens, numTokens } = await encodedShard(heldOut.documents, tokenizer);
    return { ...heldOut, tokens, numTokens };
  }

  async function measure(
    ready: Parameters<typeof curveOf>[2],
    { tokenizer }: TrainedTokenizer,
    reference: Awaited<ReturnType<typeof importedTokenizer>>,
  ): Promise<Omit<Measured, 'schemaVersion'>> {
    const [compression, learningCurve] = await Promise.all([
      compressionOf(store, threads, ready.heldOut.documents, { tokenizer, reference }),
      curveOf(store, threads, ready),
    ]);
    return { compression, learningCurve };
  }

  return {
    /** The corpus, if it was made before; else its name and how many shards there are to clean. */
    async findCorpus(given: PreprocessInput): Promise<{
      corpus: string;
      /** That names it; left out by workers of before. */
      code?: string;
      numShards: number;
      found: PreprocessResult | null;
      shuffle?: Shuffle;
      shardsPerActivity?: number;
    }> {
      const input = parseInput(preprocessInputSchema, given);
      const { dataset, data, questions, seed, unread, tokenizer, conversations, mixed } = input;
      const { tokenizerWish: wish } = input;
      const corpus = stageDigest({
        dataset: { name: dataset.name, digest: dataset.digest },
        data,
        questions,
        seed,
        code,
        ...(conversations !== undefined && { conversations }),
        ...(mixed !== undefined && { mixture: mixedSources(mixed) }),
        ...(tokenizer === undefined
          ? { tokenizerCode: tokenizerCode(), ...(wish !== undefined && { wish }) }
          : { tokenizer }),
      });
      const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
      const { shards } = await datasetOf(dataset);
      const found = manifest === null ? null : resultOf(corpus, manifest, true);
      if (manifest === null) {
        await withFailures(async () => requireUnexpired(store, dataset.name, dataset.version));
      } else {
        // What is not read may have grown since, without another dataset.
        await withFailures(async () =>
          refuseIfTooFew(manifest.statistics, unread, data.maxDropped),
        );
      }
      const shuffle = shuffleFor(shards, shardsTogether, nearOf(data.deduplicate));
      return {
        corpus,
        code,
        numShards: shards.length,
        found,
        ...(shuffle !== null && { shuffle }),
        shardsPerActivity,
      };
    },

    /** The corpus of that digest, as a run that lost its history had it; null where the store has it no more. */
    async findPreparedCorpus({ corpus }: { corpus: string }): Promise<PreprocessResult | null> {
      const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
      return manifest === null ? null : resultOf(corpus, manifest, true);
    },

    /** What evaluation sets say, as one blob: the same files give the same one. */
    async readEvaluationSets(given: ReadEvaluationSetsInput): Promise<EvaluationSetsRead> {
      const { baseDir, paths } = parseInput(readEvaluationSetsInputSchema, given);
      return withFailures(async () => gramsOfSets(store, threads, baseDir, paths));
    },

    async readConversations(given: ReadConversationsInput): Promise<ConversationsRead> {
      const { baseDir, sources, ...options } = parseInput(readConversationsInputSchema, given);
      return withFailures(async () =>
        readConversationFiles(store, threads, baseDir, sources, options),
      );
    },

    async cleanShards(given: CleanShardsInput): Promise<{ kept: number; dropped: number }> {
      const { dataset, data, from, to } = parseInput(cleanShardsInputSchema, given);
      return withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const counts = { kept: 0, dropped: 0 };
        let done = 0;
        const clean = async ({ documents }: Shards[number]): Promise<void> => {
          const { kept, numDocuments } = await cleanedShard(documents, data);
          counts.kept += kept;
          counts.dropped += numDocuments - kept;
          await progress('shards', (done += 1), to - from);
        };
        await inParallel(shards.slice(from, to), clean, shardsAtOnce);
        return counts;
      });
    },

    /** Scatters the fingerprints of groups of shards into buckets. */
    async scatterFingerprints(given: ShuffleInput): Promise<void> {
      const { dataset, data, shuffle, from, to } = parseInput(shuffleInputSchema, given);
      await withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const keyed = { shards, keys: keysOf(shards, data), data };
        for (let group = from; group < to; group += 1) await scattered(keyed, shuffle, group);
      });
    },

    /** Finds the documents that meet in each of some buckets. */
    async resolveBuckets(given: ShuffleInput): Promise<void> {
      const { dataset, data, shuffle, from, to } = parseInput(shuffleInputSchema, given);
      await withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const keyed = { shards, keys: keysOf(shards, data), data };
        for (let bucket = from; bucket < to; bucket += 1)
          await resolvedBucket(keyed, shuffle, bucket);
      });
    },

    async resolveDuplicates(
      given: ResolveDuplicatesInput,
    ): Promise<{ duplicates: string; kept: number; dropped: number }> {
      const { dataset, data, unread, shuffle } = parseInput(resolveDuplicatesInputSchema, given);
      return withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const since = shards.map((shard) => shard.since ?? 1);
        const keys = keysOf(shards, data);
        const near = nearOf(data.deduplicate);
        const key = stageDigest({
          shards: keys,
          ...(since.some((version) => version > 1) && { since }),
          ...(near.similarity !== usualNear.similarity && { similarity: near.similarity }),
        });
        let manifest = await findStage(store, 'deduplicate', key, deduplicatedSchema);
        if (manifest === null) {
          let done = 0;
          const cleaned = await inParallel(shards, async ({ documents, since = 1 }) => {
            const shard = await cleanedShard(documents, data);
            await progress('shards', (done += 1), shards.length);
            return { ...shard, since };
          });
          const made =
            shuffle === undefined
              ? await mergeFingerprints(deps, threads, cleaned, near)
              : await joinBuckets(
                  deps,
                  threads,
                  cleaned,
                  await bucketsOf({ shards, keys, data }, shuffle),
                  near,
                );
          manifest = await recordStage(store, 'deduplicate', key, deduplicatedSchema, made);
        }
        refuseIfTooFew(manifest.statistics, unread, data.maxDropped);
        const { kept, numDocuments } = manifest.statistics;
        return { duplicates: key, kept, dropped: numDocuments - kept };
      });
    },

    async splitCorpus(
      given: SplitCorpusInput,
    ): Promise<{ split: string; numShards: number; bytes: number; numLearnt?: number }> {
      const input = parseInput(splitCorpusInputSchema, given);
      return withFailures(async () => {
        const key = stageDigest({ ...input, code });
        let manifest = await findStage(store, 'split', key, splitSchema);
        if (manifest === null) {
          const { duplicates } = input;
          const from = await requireStage(store, 'deduplicate', duplicates, deduplicatedSchema);
          const made = await splitDocuments(deps, threads, from, input);
          manifest = await recordStage(store, 'split', key, splitSchema, { duplicates, ...made });
        }
        const { shards } = manifest;
        const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
        const { learnt, others } = learntFirst(shards);
        return {
          split: key,
          numShards: shards.length,
          bytes,
          // Where nothing is encoded meanwhile, finishing measures as well.
          ...(others.length > 0 && { numLearnt: learnt.length }),
        };
      });
    },

    async trainTokenizer(
      given: TrainTokenizerInput,
    ): Promise<{ tokenizer: string; vocabSize: number }> {
      const { split, wish } = parseInput(trainTokenizerInputSchema, given);
      return withFailures(async () => {
        const { shards } = await requireStage(store, 'split', split, splitSchema);
        const wanted =
          wish?.vocabSize ?? chooseVocabSize(shards.reduce((sum, { bytes }) => sum + bytes, 0));
        const inputs = shards.map(({ documents }) => documents);
        const key = stageDigest({
          inputs,
          vocabSize: wanted,
          code,
          tokenizerCode: tokenizerCode(),
          ...(wish?.train === 'unigram' && { kind: wish.train }),
        });
        let manifest = await findStage(store, 'tokenizer', key, tokenizerSchema);
        if (manifest === null) {
          const made = await trainOnText(deps, shards, wanted, wish?.train);
          manifest = await recordStage(store, 'tokenizer', key, tokenizerSchema, made);
        }
        return { tokenizer: key, vocabSize: manifest.vocabSize };
      });
    },

    /** Takes over a tokenizer that was made elsewhere, as one blob: the same file gives the same one. */
    async takeTokenizer(given: TakeTokenizerInput): Promise<KeptTokenizer> {
      const { baseDir, from } = parseInput(takeTokenizerInputSchema, given);
      return withFailures(async () => takeTokenizerFile(store, baseDir, from));
    },

    /** Records the tokenizer of an earlier model as the one of this corpus: its weights know no other. */
    async keepTokenizer(given: KeptTokenizer): Promise<{ tokenizer: string; vocabSize: number }> {
      const { file, vocabSize } = parseInput(keptTokenizerSchema, given);
      const key = stageDigest({ kept: file, vocabSize });
      const made = { schemaVersion: 1 as const, tokenizer: file, vocabSize };
      await recordStage(store, 'tokenizer', key, tokenizerSchema, made);
      return { tokenizer: key, vocabSize };
    },

    async encodeShards(given: EncodeShardsInput): Promise<{ numTokens: number }> {
      const { split, tokenizer, from, to, ...asked } = parseInput(encodeShardsInputSchema, given);
      return withFailures(async () => {
        const { shards } = await remembered(`split ${split}`, async () =>
          requireStage(store, 'split', split, splitSchema),
        );
        const trained = await remembered(`tokenizer ${tokenizer}`, async () =>
          requireStage(store, 'tokenizer', tokenizer, tokenizerSchema),
        );
        let numTokens = 0;
        let done = 0;
        const encode = async ({ documents }: Split['shards'][number]): Promise<void> => {
          const encoded = await encodedShard(documents, trained);
          numTokens += encoded.numTokens;
          await progress('shards', (done += 1), to - from);
        };
        const { learnt, others } = learntFirst(shards);
        const numbered = asked.learntFirst === true ? [...learnt, ...others] : shards;
        await inParallel(numbered.slice(from, to), encode, shardsAtOnce);
        return { numTokens };
      });
    },

    /** What the tokens of held-out text say of the corpus, from the shards that are encoded first. */
    async measureCorpus(given: MeasureCorpusInput): Promise<{ measured: string }> {
      const { split, tokenizer } = parseInput(measureCorpusInputSchema, given);
      return withFailures(async () => {
        const reference = await importedTokenizer(store);
        const key = stageDigest({ split, tokenizer, reference, code });
        const found = await findStage(store, 'measure', key, measuredSchema);
        if (found !== null) return { measured: key };
        const parts = await requireStage(store, 'split', split, splitSchema);
        const trained = await requireStage(store, 'tokenizer', tokenizer, tokenizerSchema);
        let numFound = 0;
        const { learnt } = learntFirst(parts.shards);
        const shards = await inParallel(learnt, async ({ documents }) => {
          const encoded = await encodedShard(documents, trained);
          await progress('shards', (numFound += 1), learnt.length);
          return encoded;
        });
        const ready = {
          shards,
          heldOut: await encodedHeldOut(parts, trained),
          vocabSize: trained.vocabSize,
        };
        const made = { schemaVersion: 1 as const, ...(await measure(ready, trained, reference)) };
        await recordStage(store, 'measure', key, measuredSchema, made);
        return { measured: key };
      });
    },

    /** Mixes the encoded documents by the weights and repeats of their sources. */
    async mixCorpus(input: MixCorpusInput): Promise<{ mix: string; numTokens: number }> {
      const { split, tokenizer, mixed: given, seed } = parseInput(mixCorpusInputSchema, input);
      const sources = mixedSources(given);
      return withFailures(async () => {
        const key = stageDigest({ split, tokenizer, sources, seed, code });
        let mixed = await findStage(store, 'mix', key, mixedSchema);
        if (mixed === null) {
          const { shards: documents } = await requireStage(store, 'split', split, splitSchema);
          const trained = await requireStage(store, 'tokenizer', tokenizer, tokenizerSchema);
          const encoded = await inParallel(documents, async (shard) =>
            encodedShard(shard.documents, trained),
          );
          const { vocabSize } = trained;
          const wish = { sources, seed };
          const made: Mixed = {
            schemaVersion: 1,
            ...(await mixSources(deps, threads, { documents, encoded, vocabSize }, wish)),
          };
          mixed = await recordStage(store, 'mix', key, mixedSchema, made);
        }
        const numTokens = mixed.shards.reduce((sum, shard) => sum + shard.numTokens, 0);
        return { mix: key, numTokens };
      });
    },

    async finishCorpus(given: FinishCorpusInput): Promise<PreprocessResult> {
      const input = parseInput(finishCorpusInputSchema, given);
      const { corpus, dataset, split, tokenizer, mix } = input;
      if (input.code !== undefined && input.code !== code) {
        throw ApplicationFailure.nonRetryable(
          `corpus ${corpus.slice(0, 12)} was named by other code than this worker has. ` +
            'It is prepared again; what the change leaves as it was is found.',
          FailureType.CodeChanged,
        );
      }
      return withFailures(async () => {
        const parts = await requireStage(store, 'split', split, splitSchema);
        const trained = await requireStage(store, 'tokenizer', tokenizer, tokenizerSchema);
        const { statistics, dropped } = await requireStage(
          store,
          'deduplicate',
          parts.duplicates,
          deduplicatedSchema,
        );
        const shards: CorpusManifest['shards'] = [];
        let numTokens = 0;
        let numFound = 0;
        const found = await inParallel(parts.shards, async ({ documents }) => {
          const encoded = await encodedShard(documents, trained);
          await progress('shards', (numFound += 1), parts.shards.length);
          return encoded;
        });
        for (const { tokens, index, numDocuments, numTokens: numHere } of found) {
          shards.push({ tokens, index, numDocuments, numTokens: numHere });
          numTokens += numHere;
        }
        const mixed = mix === undefined ? null : await requireStage(store, 'mix', mix, mixedSchema);
        const ready = {
          shards: mixed?.shards ?? shards,
          heldOut: await encodedHeldOut(parts, trained),
          vocabSize: trained.vocabSize,
        };
        const { compression, learningCurve } =
          input.measured === undefined
            ? await measure(ready, trained, await importedTokenizer(store))
            : await requireStage(store, 'measure', input.measured, measuredSchema);
        const made: CorpusManifest = {
          schemaVersion: 1,
          dataset,
          tokenizer: trained.tokenizer,
          ...ready,
          tokenBytes: tokenWidth(trained.vocabSize),
          ...(mixed !== null && { mixture: mixed.mixture }),
          compression,
          instructions: parts.instructions,
          statistics: { ...statistics, numTokens, ...(learningCurve && { learningCurve }) },
          droppedDocuments: dropped,
          documents: parts.shards.map(({ documents }) => documents),
          ...(input.preparation !== undefined && { preparation: input.preparation }),
        };
        const manifest = await recordStage(store, 'preprocess', corpus, corpusManifestSchema, made);
        return resultOf(corpus, manifest, false);
      });
    },
  };
}
export type PreprocessActivities = ReturnType<typeof createPreprocessActivities>;

function resultOf(corpus: string, manifest: CorpusManifest, reused: boolean): PreprocessResult {
  const { statistics, heldOut, instructions } = manifest;
  const { numDocuments, kept, dropped, redacted, numTokens, bytes } = statistics;
  return {
    corpus,
    reused,
    summary: {
      numDocuments,
      kept,
      dropped,
      redacted,
      numTokens,
      bytes,
      vocabSize: manifest.vocabSize,
      numShards: manifest.shards.length,
      numHeldOut: heldOut.numDocuments,
      heldOutBytes: heldOut.bytes,
      numHeldOutTokens: heldOut.numTokens,
      numTrainQuestions: instructions?.numTrain ?? 0,
      numPreferences: instructions?.numPreferences ?? 0,
      numQuestions: instructions?.numQuestions ?? 0,
      numAmbiguous: instructions?.numAmbiguous ?? 0,
    },
  };
}
