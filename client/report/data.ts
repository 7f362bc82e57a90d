/** What a run read: sources, what was dropped and why with samples, tokens, tokenizer. */
import {
  corpusManifestSchema,
  droppedDocumentSchema,
  type CorpusManifest,
  type DatasetManifest,
  type DroppedDocument,
} from '../../config/manifests.ts';
import type { BlobRef } from '../../config/digest.ts';
import type { PersonalDataOption } from '../../config/personal-data.ts';
import { z } from 'zod';
import { hasBlob, readBlob, readJsonLines } from '../../registry/blobs.ts';
import { DataKeyMissing } from '../../registry/errors.ts';
import { getDataset, getExpiry } from '../../registry/datasets.ts';
import { findStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { dataCard } from '../datasets/card.ts';
import type { DataReport } from './run-report.ts';
import type { Trace } from './trace.ts';

const maxSamples = 5;
const sampleLength = 300;
/** Shards whose documents are counted token by token; more would be slow and tell nothing new. */
const maxIndexes = 40;

type Drops = DataReport['dropped'];

/** The data facts of a run, with the manifest that they come from; null before a dataset is registered. */
export async function readData(
  store: Store,
  trace: Trace,
): Promise<{ data: DataReport; manifest: CorpusManifest | null } | null> {
  const manifest =
    trace.corpus === null
      ? null
      : await findStage(store, 'preprocess', trace.corpus, corpusManifestSchema);
  const ref = trace.dataset ?? manifest?.dataset ?? null;
  const dataset = ref === null ? null : await getDataset(store, ref.name, ref.version);
  if (dataset === null) return null;
  const { name, version, digest, sources, numDocuments, bytes } = dataset;
  const tell = (why: string) => trace.missing.push(why);
  const dropped = await ingestDrops(store, dataset, tell);
  if (manifest !== null) {
    // Of another version of the same documents, where it was made for that one.
    const made = manifest.dataset;
    const documents = await readDropped(store, manifest.droppedDocuments, made, tell);
    dropped.push(...dropsOf('preprocess', manifest.statistics.dropped, documents));
  }
  const data: DataReport = {
    dataset: {
      name,
      version,
      digest,
      sources,
      numDocuments,
      bytes,
      ...distributionsOf(dataset),
    },
    personalData: wayOf(trace.pipeline?.data.personalData),
    dropped,
    corpus: manifest === null ? null : await corpusFacts(store, trace, manifest),
    card: dataCard({
      dataset,
      corpus: manifest === null ? null : { stage: trace.corpus!, manifest },
    }),
  };
  return { data, manifest };
}

function distributionsOf({ distributions }: DatasetManifest) {
  return distributions === undefined ? {} : { distributions };
}

function wayOf(option: PersonalDataOption | undefined): DataReport['personalData'] {
  if (option === undefined) return null;
  return option === 'keep' ? 'keep' : 'redact';
}

/** What ingest could not read, by reason, with samples; `tell` hears why there are none of these. */
export async function ingestDrops(
  store: Store,
  dataset: DatasetManifest,
  tell: (why: string) => void = () => {},
): Promise<Drops> {
  const { droppedDocuments, dropped } = dataset;
  const documents =
    droppedDocuments === null ? [] : await readDropped(store, droppedDocuments, dataset, tell);
  return dropsOf('ingest', dropped, documents);
}

/** The counts outlive what was dropped: it expires with its dataset, and may be sealed with a key that is not here. */
async function readDropped(
  store: Store,
  ref: BlobRef,
  { name, version }: Pick<DatasetManifest, 'name' | 'version'>,
  tell: (why: string) => void,
): Promise<DroppedDocument[]> {
  const expiry = await getExpiry(store, name, version);
  if (expiry !== null && !(await hasBlob(store, ref))) {
    tell(`What was dropped of ${name}@${version} expired on ${expiry.beganAt.slice(0, 10)}.`);
    return [];
  }
  try {
    const lines = await readJsonLines(store, ref);
    return lines.flatMap((line) => droppedDocumentSchema.safeParse(line).data ?? []);
  } catch (error) {
    if (!(error instanceof DataKeyMissing)) throw error;
    tell(`What was dropped of ${name}@${version} is encrypted: ${error.message}`);
    return [];
  }
}

/**
 * Samples hold only what preprocessing stored with the reason, which it cleaned and redacted first: the raw
 * text of a dropped document is never read here.
 */
function dropsOf(
  stage: 'ingest' | 'preprocess',
  counts: Readonly<Record<string, number>>,
  documents: readonly DroppedDocument[],
): Drops {
  const byReason = Map.groupBy(documents, ({ reason }) => reason);
  return Object.entries(counts)
    .toSorted(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    .map(([reason, count]) => ({
      reason,
      stage,
      count,
      samples: (byReason.get(reason) ?? [])
        .toSorted((a, b) => Number(b.sample !== undefined) - Number(a.sample !== undefined))
        .slice(0, maxSamples)
        .map(({ source, detail, survivor, sample }) => ({
          source,
          detail: survivor === undefined ? detail : `kept instead: ${survivor}`,
          text: sample === undefined ? null : cut(sample),
        })),
    }));
}

/** A sample that fills its room was cut already, where it was stored. */
function cut(text: string): string {
  const characters = [...text];
  const whole = text.length < sampleLength;
  return whole ? text : `${characters.slice(0, sampleLength - 1).join('')}…`;
}

async function corpusFacts(
  store: Store,
  trace: Trace,
  manifest: CorpusManifest,
): Promise<NonNullable<DataReport['corpus']>> {
  const { statistics, heldOut, instructions } = manifest;
  const { kept, redacted, scripts, distributions, numTokens, bytes, characters } = statistics;
  return {
    stage: trace.corpus!,
    inferred: trace.corpusInferred,
    kept,
    redacted,
    cleaned: statistics.cleaned ?? null,
    conversations: conversationFacts(instructions?.conversations),
    scripts,
    ...(distributions !== undefined && { distributions }),
    numTokens,
    bytes,
    characters,
    ...(manifest.mixture && { mixture: manifest.mixture }),
    ...(manifest.compression && { compression: manifest.compression }),
    tokensPerDocument: spreadOf(await documentLengths(store, manifest)),
    heldOut: {
      numDocuments: heldOut.numDocuments,
      numTokens: heldOut.numTokens,
      bytes: heldOut.bytes,
    },
    instructions:
      instructions === null
        ? null
        : {
            numTrain: instructions.numTrain,
            numPreferences: instructions.numPreferences,
            numQuestions: instructions.numQuestions,
            numPreferencesHeldOut: instructions.numPreferencesHeldOut,
            numAmbiguous: instructions.numAmbiguous,
          },
    tokenizer: manifest.tokenizer,
    vocabSize: manifest.vocabSize,
  };
}

function conversationFacts(
  read: NonNullable<CorpusManifest['instructions']>['conversations'],
): NonNullable<DataReport['corpus']>['conversations'] {
  if (read === undefined) return null;
  const { numRecords, numTrain, numPreferences, dropped } = read;
  return { numRecords, numTrain, numPreferences, dropped };
}

const indexLineSchema = z.looseObject({ num: z.number() });

/** Tokens of each document, from the indexes of the token shards. */
async function documentLengths(
  store: Store,
  { shards, older = [] }: CorpusManifest,
): Promise<number[]> {
  const lengths: number[] = [];
  for (const { index } of [...shards, ...older].slice(0, maxIndexes)) {
    const text = (await readBlob(store, index)).toString('utf8');
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const parsed = indexLineSchema.safeParse(JSON.parse(line));
      if (parsed.success) lengths.push(parsed.data.num);
    }
  }
  return lengths;
}

/** Quartiles, and a histogram whose bins double, as lengths of documents spread over magnitudes. */
function spreadOf(
  lengths: readonly number[],
): NonNullable<DataReport['corpus']>['tokensPerDocument'] {
  if (lengths.length === 0) return null;
  const sorted = lengths.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))]!;
  const bins: { from: number; to: number; numDocuments: number }[] = [];
  for (let from = 2 ** Math.floor(Math.log2(Math.max(1, at(0)))); from <= at(1); from *= 2) {
    const numDocuments = sorted.filter((length) => length >= from && length < from * 2).length;
    bins.push({ from, to: from * 2 - 1, numDocuments });
  }
  return {
    low: at(0),
    quarter: at(0.25),
    median: at(0.5),
    threeQuarters: at(0.75),
    high: at(1),
    numDocuments: lengths.length,
    bins,
  };
}
