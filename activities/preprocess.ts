/**
 * Preprocess: a dataset version becomes a corpus that a model can be trained on. Every activity is a
 * function of digests, recorded under the digest of its inputs, so a retry or a second run looks it up.
 */
import { ApplicationFailure } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../config/manifests.ts';
import { tokenWidth } from '../corpus/pack.ts';
import { chooseVocabSize } from '../recipes/vocabulary.ts';
import { getDataset } from '../registry/datasets.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { cleanDocuments } from './preprocess-clean.ts';
import { mergeFingerprints, refuseIfTooFew } from './preprocess-duplicates.ts';
import { encodeDocuments, trainOnText } from './preprocess-encode.ts';
import { parseInput, progress, withFailures } from './preprocess-failures.ts';
import {
  cleanShardsInputSchema,
  encodeShardsInputSchema,
  finishCorpusInputSchema,
  keptTokenizerSchema,
  preprocessInputSchema,
  resolveDuplicatesInputSchema,
  splitCorpusInputSchema,
  trainTokenizerInputSchema,
  type CleanShardsInput,
  type DatasetRef,
  type EncodeShardsInput,
  type FinishCorpusInput,
  type KeptTokenizer,
  type PreprocessInput,
  type PreprocessResult,
  type ResolveDuplicatesInput,
  type SplitCorpusInput,
  type TrainTokenizerInput,
} from './preprocess-input.ts';
import {
  cleanShardSchema,
  deduplicatedSchema,
  encodedShardSchema,
  splitSchema,
  tokenizerSchema,
  type CleanShard,
  type EncodedShard,
  type TrainedTokenizer,
} from './preprocess-records.ts';
import { splitDocuments } from './preprocess-split.ts';
import { ThreadPool } from './preprocess-threads.ts';
import { requireStage } from './stage-records.ts';

/** Files whose change makes another corpus of the same documents: what this worker runs itself … */
const loadedSources = [
  'corpus/**/*.ts',
  'config/personal-data.ts',
  'config/cleaning.ts',
  'activities/preprocess*.ts',
  'recipes/vocabulary.ts',
  'node_modules/tokenizers/package.json',
];
/** … and what it starts to train a tokenizer. */
const tokenizerSources = ['trainer/tokenizer.py', 'trainer/special_tokens.py', 'requirements.txt'];

/** The threads start when they are needed and end with the process. */
export function createPreprocessActivities(deps: Deps, threads = new ThreadPool()) {
  const { store } = deps;
  const code = codeVersion(deps.projectDir, loadedSources);
  const tokenizerCode = (): string => codeVersion(deps.projectDir, tokenizerSources);

  async function datasetOf(ref: DatasetRef): Promise<DatasetManifest> {
    const dataset = await getDataset(store, ref.name, ref.version);
    if (dataset?.digest === ref.digest) return dataset;
    throw ApplicationFailure.nonRetryable(
      `dataset ${ref.name} version ${ref.version}: found ${dataset === null ? 'nothing' : dataset.digest}, ` +
        `expected ${ref.digest}. Restore the bucket, or start the run again.`,
      FailureType.ArtifactMismatch,
    );
  }

  const cleanKey = (
    documents: BlobRef,
    { personalData, quality, clean }: CleanShardsInput['data'],
  ): string =>
    stageDigest({
      documents,
      personalData,
      quality,
      ...(clean !== undefined && { clean }),
      code,
    });

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

  async function encodedShard(
    documents: BlobRef,
    tokenizer: TrainedTokenizer,
  ): Promise<EncodedShard> {
    const key = stageDigest({ documents, tokenizer: tokenizer.tokenizer, code });
    const found = await findStage(store, 'encode-shard', key, encodedShardSchema);
    if (found !== null) return found;
    const made = await encodeDocuments(store, documents, tokenizer);
    return recordStage(store, 'encode-shard', key, encodedShardSchema, made);
  }

  return {
    /** The corpus, if it was made before; else its name and how many shards there are to clean. */
    async findCorpus(
      given: PreprocessInput,
    ): Promise<{ corpus: string; numShards: number; found: PreprocessResult | null }> {
      const { dataset, data, questions, seed, unread, tokenizer } = parseInput(
        preprocessInputSchema,
        given,
      );
      const corpus = stageDigest({
        dataset: { name: dataset.name, digest: dataset.digest },
        data,
        questions,
        seed,
        code,
        ...(tokenizer === undefined ? { tokenizerCode: tokenizerCode() } : { tokenizer }),
      });
      const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
      const { shards } = await datasetOf(dataset);
      const found = manifest === null ? null : resultOf(corpus, manifest, true);
      if (manifest !== null) {
        // What is not read may have grown since, without another dataset.
        await withFailures(async () =>
          refuseIfTooFew(manifest.statistics, unread, data.maxDropped),
        );
      }
      return { corpus, numShards: shards.length, found };
    },

    async cleanShards(given: CleanShardsInput): Promise<{ kept: number; dropped: number }> {
      const { dataset, data, from, to } = parseInput(cleanShardsInputSchema, given);
      return withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const counts = { kept: 0, dropped: 0 };
        for (const [index, { documents }] of shards.slice(from, to).entries()) {
          const { kept, numDocuments } = await cleanedShard(documents, data);
          counts.kept += kept;
          counts.dropped += numDocuments - kept;
          await progress('shards', index + 1, to - from);
        }
        return counts;
      });
    },

    async resolveDuplicates(
      given: ResolveDuplicatesInput,
    ): Promise<{ duplicates: string; kept: number; dropped: number }> {
      const { dataset, data, unread } = parseInput(resolveDuplicatesInputSchema, given);
      return withFailures(async () => {
        const { shards } = await datasetOf(dataset);
        const key = stageDigest({
          shards: shards.map(({ documents }) => cleanKey(documents, data)),
        });
        let manifest = await findStage(store, 'deduplicate', key, deduplicatedSchema);
        if (manifest === null) {
          const cleaned: CleanShard[] = [];
          for (const { documents } of shards) {
            cleaned.push(await cleanedShard(documents, data));
            await progress('shards', cleaned.length, shards.length);
          }
          const made = await mergeFingerprints(store, threads, cleaned);
          manifest = await recordStage(store, 'deduplicate', key, deduplicatedSchema, made);
        }
        refuseIfTooFew(manifest.statistics, unread, data.maxDropped);
        const { kept, numDocuments } = manifest.statistics;
        return { duplicates: key, kept, dropped: numDocuments - kept };
      });
    },

    async splitCorpus(
      given: SplitCorpusInput,
    ): Promise<{ split: string; numShards: number; bytes: number }> {
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
        const bytes = manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
        return { split: key, numShards: manifest.shards.length, bytes };
      });
    },

    async trainTokenizer(
      given: TrainTokenizerInput,
    ): Promise<{ tokenizer: string; vocabSize: number }> {
      const { split } = parseInput(trainTokenizerInputSchema, given);
      return withFailures(async () => {
        const { shards } = await requireStage(store, 'split', split, splitSchema);
        const wanted = chooseVocabSize(shards.reduce((sum, { bytes }) => sum + bytes, 0));
        const inputs = shards.map(({ documents }) => documents);
        const key = stageDigest({
          inputs,
          vocabSize: wanted,
          code,
          tokenizerCode: tokenizerCode(),
        });
        let manifest = await findStage(store, 'tokenizer', key, tokenizerSchema);
        if (manifest === null) {
          const made = await trainOnText(deps, shards, wanted);
          manifest = await recordStage(store, 'tokenizer', key, tokenizerSchema, made);
        }
        return { tokenizer: key, vocabSize: manifest.vocabSize };
      });
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
      const { split, tokenizer, from, to } = parseInput(encodeShardsInputSchema, given);
      return withFailures(async () => {
        const { shards } = await requireStage(store, 'split', split, splitSchema);
        const trained = await requireStage(store, 'tokenizer', tokenizer, tokenizerSchema);
        let numTokens = 0;
        for (const [index, { documents }] of shards.slice(from, to).entries()) {
          numTokens += (await encodedShard(documents, trained)).numTokens;
          await progress('shards', index + 1, to - from);
        }
        return { numTokens };
      });
    },

    async finishCorpus(given: FinishCorpusInput): Promise<PreprocessResult> {
      const { corpus, dataset, split, tokenizer } = parseInput(finishCorpusInputSchema, given);
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
        for (const { documents } of parts.shards) {
          const encoded = await encodedShard(documents, trained);
          const { tokens, index, numDocuments } = encoded;
          shards.push({ tokens, index, numDocuments, numTokens: encoded.numTokens });
          numTokens += encoded.numTokens;
          await progress('shards', shards.length, parts.shards.length);
        }
        const { heldOut, ...instructed } = parts;
        const encoded = await encodedShard(heldOut.documents, trained);
        const made: CorpusManifest = {
          schemaVersion: 1,
          dataset,
          tokenizer: trained.tokenizer,
          vocabSize: trained.vocabSize,
          tokenBytes: tokenWidth(trained.vocabSize),
          shards,
          heldOut: { ...heldOut, tokens: encoded.tokens, numTokens: encoded.numTokens },
          instructions: instructed.instructions,
          statistics: { ...statistics, numTokens },
          droppedDocuments: dropped,
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
      numTrainQuestions: instructions?.numTrain ?? 0,
      numPreferences: instructions?.numPreferences ?? 0,
      numQuestions: instructions?.numQuestions ?? 0,
      numAmbiguous: instructions?.numAmbiguous ?? 0,
    },
  };
}
