import { Tokenizer } from 'tokenizers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities } from '../../activities/ingest.ts';
import { cleanDocuments } from '../../activities/preprocess-clean.ts';
import { learntFirst } from '../../activities/preprocess-curve.ts';
import {
  joinBuckets,
  mergeFingerprints,
  readDuplicates,
} from '../../activities/preprocess-duplicates.ts';
import type { PreprocessInput, PreprocessResult } from '../../activities/preprocess-input.ts';
import {
  deduplicatedSchema,
  type CleanShard,
  type Deduplicated,
  type FingerprintLine,
  type KeptLine,
  type ResolvedBucket,
  type Scattered,
} from '../../activities/preprocess-records.ts';
import { resolveRecords, scatterShards, shuffleFor } from '../../activities/preprocess-shuffle.ts';
import { splitDocuments } from '../../activities/preprocess-split.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import { FailureType } from '../../config/failures.ts';
import {
  corpusManifestSchema,
  type CorpusManifest,
  type Document,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { packPrints, readPrints } from '../../corpus/prints.ts';
import {
  decodeJsonLines,
  encodeJsonLines,
  putBlob,
  putJsonLines,
  readBlob,
  readJsonLines,
} from '../../registry/blobs.ts';
import { getDataset } from '../../registry/datasets.ts';
import { findStage } from '../../registry/stages.ts';
import type { BlobRef } from '../../config/digest.ts';
import type { Questions } from '../../config/questions.ts';
import { madeTokenizer } from '../support/tokenizers.ts';
import { english, seeded } from '../corpus/random.ts';
import {
  failureOf,
  inActivity,
  pathSource,
  startFixture,
  type Fixture,
} from './corpus-fixtures.ts';

let fixture: Fixture;
let activities: ReturnType<typeof createPreprocessActivities>;
const threads = new ThreadPool(2);
beforeAll(async () => {
  fixture = await startFixture();
  activities = createPreprocessActivities(fixture.deps, threads);
});
afterAll(async () => {
  await threads.close();
  await fixture.stop();
});

const data = { personalData: 'redact', quality: true, heldOut: 0.05, maxDropped: 0.5 } as const;
const questions: Questions[] = [
  {
    name: 'author',
    ask: ['Who wrote number {number}?', 'Number {number} is by whom?'],
    askHeldOut: ['Name the author of number {number}.'],
    answer: '{author}',
  },
];

async function ingested(name: string, lines: readonly unknown[]): Promise<PreprocessInput> {
  await fixture.put(`${name}/a.jsonl`, lines.map((line) => JSON.stringify(line)).join('\n'));
  const { ingestCorpus } = createIngestActivities(fixture.deps);
  const { result } = await inActivity(ingestCorpus, {
    run: 'r',
    name,
    sources: [pathSource(name)],
    baseDir: fixture.folder,
  });
  return { run: 'r', dataset: result.dataset, data, questions: [], seed: 1, unread: {} };
}

/** The steps of the workflow, one after the other. */
async function preprocess(input: PreprocessInput): Promise<PreprocessResult> {
  const { dataset, questions: asked, seed } = input;
  const { corpus, numShards, found } = (await inActivity(activities.findCorpus, input)).result;
  if (found !== null) return found;
  for (let from = 0; from < numShards; from += 2) {
    const to = Math.min(from + 2, numShards);
    await inActivity(activities.cleanShards, { dataset, data: input.data, from, to });
  }
  const { duplicates } = (
    await inActivity(activities.resolveDuplicates, { dataset, data: input.data, unread: {} })
  ).result;
  const { heldOut } = input.data;
  const { conversations } = input;
  const split = (
    await inActivity(activities.splitCorpus, {
      duplicates,
      heldOut,
      questions: asked,
      seed,
      ...(conversations !== undefined && { conversations }),
    })
  ).result;
  const { tokenizer } =
    input.tokenizer === undefined
      ? (await inActivity(activities.trainTokenizer, { split: split.split })).result
      : (await inActivity(activities.keepTokenizer, input.tokenizer)).result;
  await inActivity(activities.encodeShards, {
    split: split.split,
    tokenizer,
    from: 0,
    to: split.numShards,
  });
  const { mixed } = input;
  const made = { split: split.split, tokenizer };
  const mix =
    mixed && (await inActivity(activities.mixCorpus, { ...made, seed, mixed })).result.mix;
  const finished = { corpus, dataset, ...made, ...(mix && { mix }) };
  return (await inActivity(activities.finishCorpus, finished)).result;
}

async function manifestOf({ corpus }: PreprocessResult): Promise<CorpusManifest> {
  return (await findStage(fixture.deps.store, 'preprocess', corpus, corpusManifestSchema))!;
}

async function plainLines(ref: BlobRef): Promise<unknown[]> {
  const text = (await readBlob(fixture.deps.store, ref)).toString('utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
}

const random = seeded(9);
const originals = Array.from({ length: 90 }, (_, number) => ({
  text: `Write to ann@example.com. ${english(random, 1500)}`,
  number,
  author: ['Ann', 'Ben', 'Chloe'][number % 3],
}));
const lines = [
  ...originals,
  { text: `${originals[0]!.text}  `, number: 900, author: 'Thief' },
  { text: `${originals[1]!.text} One more sentence.`, number: 901, author: 'Thief' },
  { text: 'too short', number: 902, author: 'Dan' },
];

test('a corpus that was measured while it was encoded is that of one measured when it is finished', async () => {
  await fixture.put('early/tokenizer.json', JSON.stringify(madeTokenizer()));
  const taken = { baseDir: fixture.folder, from: './early' };
  const given = (await inActivity(activities.takeTokenizer, taken)).result;
  const { dataset } = await ingested('early-text', originals.slice(0, 12));
  const range = { dataset, data, from: 0, to: 1 };
  await inActivity(activities.cleanShards, range);
  const asked = { dataset, data, unread: {} };
  const { duplicates } = (await inActivity(activities.resolveDuplicates, asked)).result;
  const how = { duplicates, heldOut: 0.05, questions: [], seed: 1 };
  const { split, ...rest } = (await inActivity(activities.splitCorpus, how)).result;
  expect(rest).not.toHaveProperty('numLearnt');
  const { tokenizer } = (await inActivity(activities.keepTokenizer, given)).result;
  const made = { split, tokenizer };
  await inActivity(activities.encodeShards, { ...made, learntFirst: true, from: 0, to: 1 });
  const { measured } = (await inActivity(activities.measureCorpus, made)).result;
  expect((await inActivity(activities.measureCorpus, made)).result).toEqual({ measured });
  const [early, late] = ['e', 'f'].map((letter) => letter.repeat(64)) as [string, string];
  const finished = { dataset, ...made };
  const results = [
    (await inActivity(activities.finishCorpus, { ...finished, corpus: early, measured })).result,
    (await inActivity(activities.finishCorpus, { ...finished, corpus: late })).result,
  ];
  const [one, other] = await Promise.all(results.map(manifestOf));
  expect(one).toEqual(other);
  expect(one!.statistics.learningCurve!.points).not.toEqual([]);
});

test('of many shards those that the curve is made of come first, spread over all, each shard once', () => {
  const numbers = [...Array(26).keys()];
  const { learnt, others } = learntFirst(numbers);
  expect(learnt).toEqual([0, 1, 3, 4, 6, 8, 9, 11, 13, 14, 16, 17, 19, 21, 22, 24]);
  expect([...learnt, ...others].toSorted((a, b) => a - b)).toEqual(numbers);
  // Those that are learnt from are so whether they come alone or among the others.
  expect(learntFirst(learnt)).toEqual({ learnt, others: [] });
  expect(learntFirst([7]).learnt).toEqual([7]);
});

test('a dataset becomes a corpus whose tokens are exactly its texts', async () => {
  const input = { ...(await ingested('whole', lines)), questions };
  const result = await preprocess(input);
  expect(result.reused).toBe(false);
  expect(result.summary).toMatchObject({
    numDocuments: 93,
    kept: 90,
    dropped: { duplicate_exact: 1, duplicate_near: 1, too_short: 1 },
    numAmbiguous: 0,
  });
  const manifest = await manifestOf(result);
  const { store } = fixture.deps;
  expect(manifest.statistics.redacted).toEqual({ email: 92 });
  expect(manifest.statistics.scripts).toEqual({ latin: 90 });
  const { distributions } = manifest.statistics;
  const inLengths = distributions!.lengths.reduce((sum, { numDocuments }) => sum + numDocuments, 0);
  expect(inLengths).toBe(90);
  expect(Object.values(distributions!.languages).reduce((sum, count) => sum + count, 0)).toBe(90);
  for (const [index, { numDocuments }] of manifest.shards.entries()) {
    const texts = (await readJsonLines(store, manifest.documents![index]!)) as Document[];
    expect(texts).toHaveLength(numDocuments);
    expect(texts[0]!.text).toContain('<EMAIL>');
  }
  expect(manifest.heldOut.numDocuments).toBeGreaterThan(0);
  expect(
    manifest.shards.reduce(
      (sum, { numDocuments }) => sum + numDocuments,
      manifest.heldOut.numDocuments,
    ),
  ).toBe(90);
  expect(manifest.shards.reduce((sum, { numTokens }) => sum + numTokens, 0)).toBe(
    manifest.statistics.numTokens,
  );
  expect(manifest.tokenBytes).toBe(2);
  const { points, numHeldOut } = manifest.statistics.learningCurve!;
  expect(points.at(-1)!.numTokens).toBe(manifest.statistics.numTokens);
  expect(numHeldOut).toBe(manifest.heldOut.numTokens);

  const dropped = (await readJsonLines(store, manifest.droppedDocuments)) as DroppedDocument[];
  expect(dropped.map(({ reason }) => reason).toSorted()).toEqual([
    'duplicate_exact',
    'duplicate_near',
    'too_short',
  ]);
  // Kept for people: how each began, and what a duplicate was a duplicate of.
  for (const { reason, sample, survivor } of dropped) {
    expect(sample).not.toBe('');
    expect(survivor !== undefined).toBe(reason.startsWith('duplicate'));
  }
  expect(dropped.every(({ sample }) => typeof sample === 'string')).toBe(true);

  const tokenizer = Tokenizer.fromString(
    (await readBlob(store, manifest.tokenizer)).toString('utf8'),
  );
  expect(tokenizer.getVocabSize(true)).toBe(manifest.vocabSize);
  const held = (await plainLines(manifest.heldOut.documents)) as Document[];
  const heldIds = new Set(held.map(({ id }) => id));
  let characters = 0;
  for (const shard of manifest.shards) {
    const bytes = await readBlob(store, shard.tokens);
    expect(bytes.length).toBe(shard.numTokens * 2);
    for (const line of await plainLines(shard.index)) {
      const { id, first, num } = line as { id: string; first: number; num: number };
      expect(heldIds.has(id)).toBe(false);
      const ids = Array.from({ length: num }, (_, at) => bytes.readUInt16LE((first + at) * 2));
      const text = await tokenizer.decode(ids, false);
      expect(text.startsWith('Write to <EMAIL>. ')).toBe(true);
      expect((await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds()).toEqual(
        ids,
      );
      expect(bytes.readUInt16LE((first + num) * 2)).toBe(tokenizer.tokenToId('<|endoftext|>'));
      characters += text.length;
    }
  }
  expect(characters + held.reduce((sum, { text }) => sum + text.length, 0)).toBe(
    manifest.statistics.characters,
  );
  expect(held.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)).toBe(
    manifest.heldOut.bytes,
  );
  expect((await readBlob(store, manifest.heldOut.tokens)).length).toBe(
    manifest.heldOut.numTokens * 2,
  );

  const { instructions } = manifest;
  expect(instructions).toMatchObject({
    numTrain: 180,
    numPreferences: 180,
    numQuestions: 90,
    numPreferencesHeldOut: 90,
  });
  const train = await plainLines(instructions!.train);
  expect(train).toHaveLength(180);
  expect(train[0]).toMatchObject({ messages: [{ role: 'user' }, { role: 'assistant' }] });
  expect((await plainLines(instructions!.preferences))[0]).toMatchObject({
    prompt: [{ role: 'user' }],
    chosen: [{ role: 'assistant' }],
    rejected: [{ role: 'assistant' }],
  });
  const asked = (number: number): boolean => JSON.stringify(train).includes(`umber ${number} `);
  // Of two equal texts one is left, and so are the facts about it.
  expect([asked(0), asked(900)].filter(Boolean)).toHaveLength(1);
  expect([asked(1), asked(901)].filter(Boolean)).toHaveLength(1);
}, 60_000);

test('a second run looks everything up, and options that matter make another corpus', async () => {
  const input = { ...(await ingested('again', lines.slice(0, 40))), questions };
  const first = await preprocess(input);
  const started = performance.now();
  expect(await preprocess({ ...input, run: 'other' })).toEqual({ ...first, reused: true });
  expect(performance.now() - started).toBeLessThan(2000);
  const name = async (changed: Partial<PreprocessInput>): Promise<string> =>
    (await inActivity(activities.findCorpus, { ...input, ...changed })).result.corpus;
  const others = await Promise.all([
    name({ seed: 2 }),
    name({ questions: [] }),
    name({ data: { ...data, heldOut: 0.1 } }),
    name({ data: { ...data, personalData: 'keep' } }),
  ]);
  expect(new Set([first.corpus, ...others]).size).toBe(5);
}, 60_000);

test('conversations of files are mixed with the questions, and what evaluation sets ask is dropped', async () => {
  const given = { ...(await ingested('mixed', lines.slice(0, 40))), questions };
  const records = [
    { instruction: 'Who is at ann@b.io?', output: 'Ann.' },
    { instruction: 'Better?', chosen: 'Yes, gladly.', rejected: 'No.' },
    { text: 'of no known shape' },
    { instruction: 'Say it', output: originals[3]!.text.slice(0, 300) },
  ];
  await fixture.put(
    'mixed-chats.jsonl',
    records.map((record) => JSON.stringify(record)).join('\n'),
  );
  await fixture.put('mixed-eval.jsonl', JSON.stringify({ question: originals[3]!.text }));
  const baseDir = fixture.folder;
  const { result: sets } = await inActivity(activities.readEvaluationSets, {
    baseDir,
    paths: ['mixed-eval.*'],
  });
  const { grams } = sets;
  const { result: conversations } = await inActivity(activities.readConversations, {
    baseDir,
    sources: [{ path: 'mixed-chats.jsonl', license: 'MIT', maxTokens: 128 }],
    personalData: 'redact',
    heldOut: 0.01,
    seed: 1,
    grams,
  });
  const made = await preprocess({ ...given, conversations, data: { ...data, grams } });
  expect(made.summary.dropped).toEqual({ contaminated: 1 });
  const { instructions } = await manifestOf(made);
  expect(instructions?.conversations).toMatchObject({
    numRecords: 4,
    numTrain: 1,
    dropped: { unknown_shape: 1, contaminated: 1 },
    redacted: { email: 1 },
  });
  const train = JSON.stringify(await plainLines(instructions!.train));
  expect(train).toContain('Who is at <EMAIL>?');
  expect(train).toContain('Who wrote number');
  expect(JSON.stringify(await plainLines(instructions!.preferences))).toContain('Yes, gladly.');
  expect(await plainLines(instructions!.train)).toHaveLength(instructions!.numTrain);
  const without = { ...given, data: { ...data, grams } };
  const { result: other } = await inActivity(activities.findCorpus, without);
  expect(other.corpus).not.toBe(made.corpus);
}, 60_000);

test('grown text is encoded with the tokenizer of the model that is gone on from', async () => {
  const first = await manifestOf(await preprocess(await ingested('grown', lines.slice(0, 40))));
  const tokenizer = { file: first.tokenizer, vocabSize: first.vocabSize };
  const grown = await ingested('grown', lines);
  const kept = await preprocess({ ...grown, tokenizer });
  const manifest = await manifestOf(kept);
  expect([manifest.tokenizer, manifest.vocabSize]).toEqual([first.tokenizer, first.vocabSize]);
  expect(manifest.statistics.kept).toBeGreaterThan(first.statistics.kept);
  const wide = await manifestOf(
    await preprocess({ ...grown, tokenizer: { ...tokenizer, vocabSize: 70_000 } }),
  );
  expect([manifest.tokenBytes, wide.tokenBytes]).toEqual([2, 4]);
  expect(wide.heldOut.tokens.bytes).toBe(manifest.heldOut.tokens.bytes * 2);
  const own = await preprocess(grown);
  expect(own.corpus).not.toBe(kept.corpus);
  expect((await manifestOf(own)).tokenizer).not.toEqual(first.tokenizer);
});

test('made again from nothing, the corpus has the same bytes', async () => {
  const small = lines.slice(0, 30);
  const one = await manifestOf(
    await preprocess({ ...(await ingested('first', small)), questions }),
  );
  const fresh = await startFixture();
  const before = { fixture, activities };
  try {
    fixture = fresh;
    activities = createPreprocessActivities(fresh.deps, threads);
    const two = await manifestOf(
      await preprocess({ ...(await ingested('first', small)), questions }),
    );
    expect(two).toEqual(one);
  } finally {
    ({ fixture, activities } = before);
    await fresh.stop();
  }
}, 60_000);

test('a corpus is not finished under a name that other code gave it', async () => {
  const digest = 'a'.repeat(64);
  const named = { corpus: digest, code: digest, split: digest, tokenizer: digest };
  const dataset = { name: 'policy', version: 1, digest };
  const failure = await failureOf(activities.finishCorpus, { ...named, dataset });
  expect(failure).toMatchObject({ type: FailureType.CodeChanged, nonRetryable: true });
});

test('a retried step that lost its reply finds what it made', async () => {
  const { dataset } = await ingested('retried', lines.slice(0, 40));
  const first = await inActivity(activities.cleanShards, { dataset, data, from: 0, to: 1 });
  expect(first.heartbeats.length).toBeGreaterThan(1);
  const second = await inActivity(activities.cleanShards, { dataset, data, from: 0, to: 1 });
  expect(second.result).toEqual(first.result);
  expect(second.heartbeats).toHaveLength(1);
});

test('a corpus that is dropped beyond the bound is refused with the reasons', async () => {
  const short = Array.from({ length: 8 }, (_, index) => ({ text: `short text number ${index}` }));
  const { dataset } = await ingested('dropped', [...short, ...originals.slice(0, 4)]);
  const failure = await failureOf(activities.resolveDuplicates, {
    dataset,
    data,
    unread: {},
  });
  expect(failure.message).toMatch(
    /dropped 8 of 12 documents, 66.7 % \(too_short 8\), expected at most 50 %/,
  );
  expect([failure.type, failure.nonRetryable]).toEqual([FailureType.InvalidCorpus, true]);
  const allowed = { ...data, maxDropped: 0.7 };
  expect(
    (await inActivity(activities.resolveDuplicates, { dataset, data: allowed, unread: {} })).result
      .kept,
  ).toBe(4);
});

test('what ingest could not read counts as dropped, for a new corpus and for one found again', async () => {
  const { dataset } = await ingested('unread', originals.slice(0, 4));
  const unread = { binary: 3, undecodable: 2 };
  const sentence =
    /dropped 5 of 9 documents, 55.6 % \(binary 3, undecodable 2\), expected at most 50 %/;
  const failure = await failureOf(activities.resolveDuplicates, { dataset, data, unread });
  expect(failure.message).toMatch(sentence);
  const input = { run: 'r', dataset, data, questions: [], seed: 1, unread: {} };
  await preprocess(input);
  expect((await inActivity(activities.findCorpus, input)).result.found?.reused).toBe(true);
  expect((await failureOf(activities.findCorpus, { ...input, unread })).message).toMatch(sentence);
}, 60_000);

test('a shard may drop more documents than a call takes arguments', async () => {
  const { store } = fixture.deps;
  const numDropped = 350_000;
  const nobody = { id: 'x', source: 's', reason: 'too_short', detail: '' };
  const none = await putJsonLines(store, []);
  const nothing = new Uint8Array();
  const empty = packPrints({
    numDocuments: 0,
    contents: nothing,
    bands: new Uint32Array(),
    sketches: nothing,
    lines: await encodeJsonLines([]),
  });
  const shard: CleanShard = {
    schemaVersion: 1,
    documents: none,
    fingerprints: await putBlob(store, empty),
    dropped: await putJsonLines(
      store,
      Array.from({ length: numDropped }, () => nobody),
    ),
    numDocuments: numDropped,
    kept: 0,
    redacted: {},
  };
  const { result } = await inActivity(async () =>
    mergeFingerprints(fixture.deps, threads, [shard]),
  );
  expect(result.statistics.dropped).toEqual({ too_short: numDropped });
}, 60_000);

test('a shuffle finds the duplicates that one activity finds, whatever the groups and buckets', async () => {
  const changed = originals.map(({ text, ...rest }, index) => ({
    ...rest,
    text:
      index % 3 === 0 ? `${text} And more.` : index % 7 === 0 ? ` ${text}` : `${text.slice(500)}`,
  }));
  const { dataset } = await ingested('shuffled', [
    ...originals,
    ...changed,
    ...changed.slice(0, 9),
  ]);
  const { shards } = (await getDataset(fixture.deps.store, dataset.name, dataset.version))!;
  const raw = (
    await Promise.all(
      shards.map(async ({ documents }) => readJsonLines(fixture.deps.store, documents)),
    )
  ).flat();
  const cleaned: CleanShard[] = [];
  for (let from = 0; from < raw.length; from += 31) {
    const documents = await putJsonLines(fixture.deps.store, raw.slice(from, from + 31));
    const work = async () => cleanDocuments(fixture.deps.store, threads, documents, data);
    cleaned.push((await inActivity(work)).result);
  }
  const { store } = fixture.deps;
  const whole = (await inActivity(async () => mergeFingerprints(fixture.deps, threads, cleaned)))
    .result;
  const dated = cleaned.map((shard, index) => ({ ...shard, since: 1 + Math.floor(index / 2) }));
  const grown = (await inActivity(async () => mergeFingerprints(fixture.deps, threads, dated)))
    .result;
  expect(grown.dropped).not.toEqual(whole.dropped);
  expect(whole.statistics.dropped['duplicate_near']).toBeGreaterThan(20);
  expect(whole.statistics.dropped['duplicate_exact']).toBeGreaterThan(8);
  for (const [groupSize, numBuckets] of [
    [1, 5],
    [3, 1],
    [100, 2],
  ] as const) {
    const work = async (): Promise<Deduplicated> => {
      const groups: Scattered[] = [];
      for (let from = 0; from < cleaned.length; from += groupSize)
        groups.push(
          await scatterShards(
            store,
            threads,
            cleaned.slice(from, from + groupSize),
            from,
            numBuckets,
          ),
        );
      const buckets: ResolvedBucket[] = [];
      for (let bucket = 0; bucket < numBuckets; bucket += 1)
        buckets.push(
          await resolveRecords(
            store,
            threads,
            groups.map((group) => group.buckets[bucket]!),
          ),
        );
      expect(await joinBuckets(fixture.deps, threads, dated, buckets)).toEqual(grown);
      return joinBuckets(fixture.deps, threads, cleaned, buckets);
    };
    expect((await inActivity(work)).result).toEqual(whole);
  }
}, 60_000);

test('the activities of a shuffle record what they make, and a search after them gives the same corpus', async () => {
  const { dataset } = await ingested('shuffle-activities', lines);
  const shuffle = { groupSize: 1, numBuckets: 2 };
  const range = { dataset, data, shuffle, from: 0, to: 2 };
  await inActivity(activities.resolveBuckets, range);
  const found = await inActivity(activities.resolveDuplicates, {
    dataset,
    data,
    unread: {},
    shuffle,
  });
  const other = await ingested('whole', lines);
  const wanted = await inActivity(activities.resolveDuplicates, {
    dataset: other.dataset,
    data,
    unread: {},
  });
  const { kept, dropped } = found.result;
  expect({ kept, dropped }).toEqual({ kept: wanted.result.kept, dropped: wanted.result.dropped });
}, 60_000);

test('bands of their own find the same through a shuffle and without one, and none leave near duplicates', async () => {
  const some = originals.slice(0, 40);
  const changed = some
    .slice(0, 10)
    .map(({ text, ...rest }) => ({ ...rest, text: `${text} And more.` }));
  const { dataset } = await ingested('own-bands', [...some, ...changed, some[0]]);
  const shuffle = { groupSize: 1, numBuckets: 2 };
  const resolved = async (deduplicate?: PreprocessInput['data']['deduplicate'], parts = false) => {
    const asked = { ...data, quality: false, ...(deduplicate !== undefined && { deduplicate }) };
    const wish = { dataset, data: asked, unread: {}, ...(parts && { shuffle }) };
    const { duplicates } = (await inActivity(activities.resolveDuplicates, wish)).result;
    const found = await findStage(
      fixture.deps.store,
      'deduplicate',
      duplicates,
      deduplicatedSchema,
    );
    return { duplicates, dropped: found!.statistics.dropped };
  };
  const usual = await resolved();
  expect(usual.dropped).toEqual({ duplicate_exact: 1, duplicate_near: 10 });
  const said = { near: { bands: 14, rows: 8, similarity: 0.75 } };
  expect(await resolved(said)).toEqual(usual);
  const alone = await resolved({ near: false }, true);
  expect(alone.dropped).toEqual({ duplicate_exact: 1 });
  const wide = { bands: 20, rows: 5, similarity: 0.75 };
  expect((await resolved({ near: wide }, true)).dropped).toEqual(usual.dropped);
  const similar = await resolved({ near: { ...wide, similarity: 0.7 } });
  expect(similar.dropped).toEqual(usual.dropped);
  const digests = [usual, alone, similar].map(({ duplicates }) => duplicates);
  expect(new Set(digests).size).toBe(3);
}, 60_000);

test('what an older version listed of kept documents is split as what is listed now', async () => {
  const { dataset } = await ingested('listed', lines);
  const asked = { dataset, data, unread: {} };
  const { duplicates } = (await inActivity(activities.resolveDuplicates, asked)).result;
  const { store } = fixture.deps;
  const now = (await findStage(store, 'deduplicate', duplicates, deduplicatedSchema))!;
  const { fingerprints, duplicates: gone, ...older } = now;
  const goneOf = await readDuplicates(store, { ...now, duplicates: gone! });
  const kept: KeptLine[] = [];
  for (const [shard, prints] of fingerprints!.entries()) {
    const { lines: packed } = readPrints(await readBlob(store, prints));
    for (const [position, line] of (await decodeJsonLines(packed)).entries()) {
      const { id, bytes } = line as FingerprintLine;
      if (!goneOf(shard).includes(position)) kept.push({ shard, position, id, bytes });
    }
  }
  const listed = deduplicatedSchema.parse({ ...older, kept: await putJsonLines(store, kept) });
  const wish = { duplicates, heldOut: 0.05, questions, seed: 3 };
  const split = async (from: Deduplicated) =>
    (await inActivity(async () => splitDocuments(fixture.deps, threads, from, wish))).result;
  const expected = await split(now);
  expect(expected.heldOut.numDocuments).toBeGreaterThan(0);
  expect(await split(listed)).toEqual(expected);
}, 60_000);

test('many short documents are shuffled though their shards are few', () => {
  const shards = (count: number, numDocuments: number) =>
    Array.from({ length: count }, () => ({ numDocuments }));
  expect(shuffleFor(shards(256, 190))).toBeNull();
  expect(shuffleFor(shards(257, 190))).toEqual({ groupSize: 256, numBuckets: 2 });
  expect(shuffleFor(shards(100, 10_000))).toEqual({ groupSize: 5, numBuckets: 20 });
});

test('a corpus is encoded with a tokenizer that somebody else made, to the ids of its library', async () => {
  await fixture.put('given/tokenizer.json', JSON.stringify(madeTokenizer()));
  const taken = { baseDir: fixture.folder, from: './given' };
  const tokenizer = (await inActivity(activities.takeTokenizer, taken)).result;
  expect((await inActivity(activities.takeTokenizer, taken)).result).toEqual(tokenizer);
  const input = await ingested('given-text', originals.slice(0, 12));
  const manifest = await manifestOf(await preprocess({ ...input, tokenizer }));
  expect(manifest).toMatchObject({ vocabSize: 262, tokenizer: tokenizer.file });
  const library = Tokenizer.fromString(
    (await readBlob(fixture.deps.store, tokenizer.file)).toString('utf8'),
  );
  const [held] = (await plainLines(manifest.heldOut.documents)) as Document[];
  const encoding = await library.encode(held!.text, null, { addSpecialTokens: false });
  const bytes = await readBlob(fixture.deps.store, manifest.heldOut.tokens);
  const ids = new Uint16Array(Uint8Array.from(bytes).buffer);
  expect([...ids]).toEqual([...encoding.getIds(), 258]);
});

test('a tokenizer that is not there, or is none, is a wrong configuration', async () => {
  const place = { baseDir: fixture.folder, from: './nowhere.json' };
  expect(await failureOf(activities.takeTokenizer, place)).toMatchObject({
    type: FailureType.InvalidConfig,
    message: expect.stringContaining('tokenizer.from: ./nowhere.json: found no file'),
  });
  await fixture.put('bad.json', '{}');
  expect(await failureOf(activities.takeTokenizer, { ...place, from: './bad.json' })).toMatchObject(
    { type: FailureType.InvalidConfig },
  );
});

test('sources are mixed by their weights, and nothing else of the corpus changes', async () => {
  const chance = seeded(31);
  const texts = (number: number) => Array.from({ length: number }, () => english(chance, 1200));
  const put = async (name: string, some: string[]) =>
    fixture.put(`mixed/${name}/a.jsonl`, some.map((text) => JSON.stringify({ text })).join('\n'));
  await put('laws', texts(20));
  await put('mail', texts(70));
  const sources = [pathSource('mixed/mail'), pathSource('mixed/laws')];
  const { ingestCorpus } = createIngestActivities(fixture.deps);
  const read = { run: 'r', name: 'mixed', sources, baseDir: fixture.folder };
  const { dataset } = (await inActivity(ingestCorpus, read)).result;
  const input: PreprocessInput = { run: 'r', dataset, data, questions: [], seed: 1, unread: {} };
  const plain = await manifestOf(await preprocess(input));
  expect(plain).not.toHaveProperty('mixture');

  const wished = [
    { ...sources[0]!, weight: 1 },
    { ...sources[1]!, weight: 3, repeat: 4 },
  ];
  const made = await preprocess({ ...input, mixed: wished });
  const { mixture, shards, ...rest } = await manifestOf(made);
  const { shards: natural, ...same } = plain;
  // How hard the text is follows from what is read of it.
  const { learningCurve } = rest.statistics;
  expect(rest).toEqual({ ...same, statistics: { ...same.statistics, learningCurve } });

  const [mail, laws] = mixture!.sources;
  expect(mail).toMatchObject({ source: 'mixed/mail', weight: 1 });
  expect(laws).toMatchObject({ source: 'mixed/laws', weight: 3, repeat: 4 });
  expect(laws!.epoch.numDocuments).toBe(laws!.whole.numDocuments * 4);
  expect(laws!.used).toEqual(laws!.whole);
  // To half a document, of which none is twice as long as another.
  const half = mail!.whole.numTokens / mail!.whole.numDocuments;
  expect(Math.abs(laws!.epoch.numTokens / 3 - mail!.epoch.numTokens)).toBeLessThan(half);
  expect(mail!.used.numDocuments).toBeLessThan(mail!.whole.numDocuments);

  // Each reading is the document's own tokens, and as many of them lie in the shards as the record says.
  const tokensById = async (some: typeof shards) => {
    const found = new Map<string, string[]>();
    for (const { tokens, index } of some) {
      const bytes = await readBlob(fixture.deps.store, tokens);
      for (const line of (await plainLines(index)) as {
        id: string;
        first: number;
        num: number;
      }[]) {
        const part = bytes.subarray(line.first * 2, (line.first + line.num + 1) * 2);
        found.set(line.id, [...(found.get(line.id) ?? []), part.toString('hex')]);
      }
    }
    return found;
  };
  const once = await tokensById(natural);
  const mixed = await tokensById(shards);
  for (const [id, readings] of mixed) expect(new Set(readings)).toEqual(new Set(once.get(id)));
  const readings = [...mixed.values()].map(({ length }) => length);
  expect(readings.filter((times) => times === 4)).toHaveLength(laws!.whole.numDocuments);
  expect(readings.filter((times) => times === 1)).toHaveLength(mail!.used.numDocuments);
  const numTokens = mixture!.sources.reduce((sum, { epoch }) => sum + epoch.numTokens, 0);
  expect(shards.reduce((sum, shard) => sum + shard.numTokens, 0)).toBe(numTokens);
});

test('a source whose documents are all dropped cannot have a weight', async () => {
  await fixture.put('empty-mix/few/a.jsonl', JSON.stringify({ text: 'too short' }));
  await fixture.put(
    'empty-mix/many/a.jsonl',
    originals
      .slice(0, 20)
      .map((line) => JSON.stringify(line))
      .join('\n'),
  );
  const sources = [pathSource('empty-mix/few'), pathSource('empty-mix/many')];
  const { ingestCorpus } = createIngestActivities(fixture.deps);
  const read = { run: 'r', name: 'empty-mix', sources, baseDir: fixture.folder };
  const { dataset } = (await inActivity(ingestCorpus, read)).result;
  const input: PreprocessInput = { run: 'r', dataset, data, questions: [], seed: 1, unread: {} };
  const mixed = sources.map((source) => ({ ...source, weight: 1 }));
  await expect(preprocess({ ...input, mixed })).rejects.toMatchObject({
    type: FailureType.InvalidCorpus,
    message: expect.stringContaining('data.sources: empty-mix/few has weight 1, and no document'),
  });
});

test('one document is too few, because one is held out', async () => {
  const { dataset } = await ingested('single', originals.slice(0, 1));
  const failure = await failureOf(activities.resolveDuplicates, {
    dataset,
    data,
    unread: {},
  });
  expect(failure.message).toMatch(/kept 1 of 1 documents, expected at least 2/);
  expect(failure.type).toBe(FailureType.InvalidCorpus);
});

test('questions about a field that no document has are a wrong configuration', async () => {
  const { dataset } = await ingested('fields', originals.slice(0, 4));
  const { duplicates } = (
    await inActivity(activities.resolveDuplicates, { dataset, data, unread: {} })
  ).result;
  const wrong = [{ ...questions[0]!, answer: '{writer}' }];
  const failure = await failureOf(activities.splitCorpus, {
    duplicates,
    heldOut: 0.05,
    questions: wrong,
    seed: 1,
  });
  expect(failure.message).toMatch(/"author".*writer.*the documents have author, number/);
  expect([failure.type, failure.nonRetryable]).toEqual([FailureType.InvalidConfig, true]);
});

test('a dataset that is not the one named is refused', async () => {
  const input = await ingested('named', originals.slice(0, 2));
  const failure = await failureOf(activities.findCorpus, {
    ...input,
    dataset: { ...input.dataset, digest: '0'.repeat(64) },
  });
  expect(failure.type).toBe(FailureType.ArtifactMismatch);
});

test('an error in a thread comes back, and the threads go on', async () => {
  const documents = Buffer.from('not compressed');
  const broken = { documents, options: { personalData: 'keep', quality: false } } as const;
  await expect(threads.run('clean', broken)).rejects.toThrow(/./);
  const { result } = await inActivity(async () =>
    threads.run('duplicates', { fingerprints: [], since: [] }),
  );
  expect(result.numbers).toHaveLength(0);
});
