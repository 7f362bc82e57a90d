/** Two versions of a dataset and the corpus of the second, made by hand and of a few documents. */
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
  type Document,
} from '../../config/manifests.ts';
import type { Distributions } from '../../config/statistics.ts';
import { putBlob, putJsonLines } from '../../registry/blobs.ts';
import { recordStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { digestOf, registerDataset } from '../support/records.ts';

const idOf = (number: number): string => number.toString(16).padStart(32, '0');

/** Raw, with an address that no page may show. */
export function documentOf(number: number): Document {
  const source = number % 5 === 0 ? `https://example.org/${number}` : `./docs/${number}.md`;
  return {
    id: idOf(number),
    source,
    text: `Rule ${number}. Write to ann@example.com. 第${number}條`,
    metadata: { number, ...(number % 4 === 0 && { license: 'MIT' }) },
  };
}

const cleanedOf = (number: number): Document => {
  const document = documentOf(number);
  return { ...document, text: document.text.replace('ann@example.com', '<EMAIL>') };
};
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

function distributionsOf(numDocuments: number): Distributions {
  return {
    languages: { en: numDocuments - 2, 'zh-Hant': 1, 'Latin script': 1 },
    lengths: [{ from: 32, numDocuments }],
    domains: {
      top: [{ name: 'example.org', numDocuments: Math.floor(numDocuments / 5) }],
      numOthers: 0,
      numDocumentsOfOthers: 0,
    },
    licenses: {
      top: [{ name: 'MIT', numDocuments: Math.floor(numDocuments / 4) }],
      numOthers: 0,
      numDocumentsOfOthers: 0,
    },
    dates: { first: '1999', last: '2024-05-02', years: { 1999: 1, 2024: 2 } },
  };
}

async function register(
  store: Store,
  letter: string,
  shards: number[][],
): Promise<DatasetManifest> {
  const documents = shards.flat().map(documentOf);
  const bytes = documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  return registerDataset(store, {
    schemaVersion: 1,
    name: 'policy',
    digest: digestOf(letter),
    sources: [
      { name: './docs', license: 'internal', numDocuments: documents.length - 4, bytes },
      { name: 'https://example.org/sitemap.xml', license: 'CC-BY-4.0', numDocuments: 4, bytes: 9 },
    ],
    shards: await Promise.all(
      shards.map(async (numbers) => ({
        documents: await putJsonLines(store, numbers.map(documentOf)),
        numDocuments: numbers.length,
      })),
    ),
    numDocuments: documents.length,
    bytes,
    dropped: { needs_ocr: 1 },
    droppedDocuments: await putJsonLines(store, [
      { id: idOf(900), source: './docs/scan.pdf', reason: 'needs_ocr', detail: 'no text' },
    ]),
    distributions: distributionsOf(documents.length),
  });
}

/** Documents 1 to 20, then 4 to 24: the first shard is the same in both. */
export async function makeVersions(store: Store): Promise<DatasetManifest[]> {
  return [
    await register(store, '1', [range(4, 14), range(14, 21), range(1, 4)]),
    await register(store, '2', [range(4, 14), range(14, 25)]),
  ];
}

const numbersKept = range(4, 19);
const numberHeldOut = 19;

/** Of the second version: 15 to train on, one held out, five dropped. */
export async function makeCorpus(
  store: Store,
  change: (made: CorpusManifest) => CorpusManifest = (made) => made,
): Promise<string> {
  const shards = [numbersKept.slice(0, 8), numbersKept.slice(8)];
  const tokens = await putBlob(store, Buffer.from([1, 0]));
  const made: CorpusManifest = {
    schemaVersion: 1,
    dataset: { name: 'policy', version: 2, digest: digestOf('2') },
    tokenizer: tokens,
    vocabSize: 512,
    tokenBytes: 2,
    shards: await Promise.all(
      shards.map(async (numbers) => {
        const lines = numbers.map((number) => `{"first":0,"id":"${idOf(number)}","num":1}\n`);
        return {
          tokens,
          index: await putBlob(store, Buffer.from(lines.join(''))),
          numDocuments: numbers.length,
          numTokens: numbers.length,
        };
      }),
    ),
    heldOut: {
      documents: await putBlob(store, Buffer.from(`${JSON.stringify(cleanedOf(numberHeldOut))}\n`)),
      tokens,
      numDocuments: 1,
      numTokens: 9,
      bytes: 30,
    },
    instructions: null,
    statistics: {
      numDocuments: 21,
      kept: 16,
      dropped: { duplicate_near: 4, too_short: 1 },
      redacted: { email: 21 },
      numTokens: 15,
      bytes: 600,
      characters: 580,
      scripts: { latin: 16 },
      distributions: distributionsOf(16),
    },
    droppedDocuments: await putJsonLines(store, [
      ...range(20, 24).map((number) => ({
        id: idOf(number),
        source: documentOf(number).source,
        reason: 'duplicate_near',
        detail: idOf(4),
        survivor: './docs/4.md',
        sample: cleanedOf(number).text,
      })),
      {
        id: idOf(24),
        source: './docs/24.md',
        reason: 'too_short',
        detail: 'found 9 words, expected at least 50',
        sample: cleanedOf(24).text,
      },
    ]),
    documents: await Promise.all(
      shards.map(async (numbers) => putJsonLines(store, numbers.map(cleanedOf))),
    ),
    preparation: { quality: true, personalData: 'redact', clean: undefined, heldOut: 0.05 },
  };
  const stage = digestOf('c');
  await recordStage(store, 'preprocess', stage, corpusManifestSchema, change(made));
  return stage;
}
