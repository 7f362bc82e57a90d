/**
 * Preparing a corpus: the same text, filters, MinHash parameters, tokenizer and cores for datatrove and for the
 * workflow on its data workers, store and server included; what they keep is compared document by document.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import {
  corpusManifestSchema,
  type Document,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { preprocessInputSchema } from '../../activities/preprocess-input.ts';
import { projectDir } from '../../infra/layout.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { getDataset } from '../../registry/datasets.ts';
import { findStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { compareDecisions, type Decision } from './agreement.ts';
import { say, type Measured } from './bench.ts';
import { withDataWorkers } from './data-workers.ts';
import { englishDocuments, readPassages, writeEnglish } from './english-corpus.ts';
import { gpt2Tokenizer, peerPackages, peerPython } from './peer-environment.ts';

const vocabSize = 50_257;
const warmUpBytes = 6e6;
/** Repeated n-grams, as both count them. */
const repeatedGrams: [length: number, share: number][] = [
  [5, 0.15],
  [6, 0.14],
  [7, 0.13],
  [8, 0.12],
  [9, 0.11],
  [10, 0.1],
];

const peerSchema = z.object({
  seconds: z.record(z.string(), z.number()),
  decisions: z.array(z.tuple([z.string(), z.string(), z.number()])),
  numTokens: z.number(),
});

/** Measures both on the same corpus. */
export async function againstDatatrove(
  home: string,
  { data, megabytes, seed }: { data: string; megabytes: number; seed: number },
): Promise<Measured> {
  const python = await peerPython('datatrove', peerPackages);
  const input = path.join(home, 'corpus');
  const warmUp = path.join(home, 'warm-up');
  const passages = readPassages(data);
  const write = async (folder: string, bytes: number, from: number) => {
    mkdirSync(folder, { recursive: true });
    const files = ['0.jsonl', '1.jsonl'].map((name) => path.join(folder, name));
    return writeEnglish(englishDocuments(passages, bytes, from), files);
  };
  await write(warmUp, warmUpBytes, seed + 1);
  const corpus = await write(input, megabytes * 1e6, seed);
  say(`${corpus.numDocuments} documents, ${(corpus.bytes / 1e6).toFixed(1)} MB of text`);
  const tokenizer = await gpt2Tokenizer(python, data, home);
  const ours = await withDataWorkers(home, ['0,1'], async (stack) => {
    const options = preprocessInputSchema.shape.data.parse({
      personalData: 'keep',
      quality: true,
      clean: { steps: ['gopher-repetition'] },
      heldOut: 0.005,
      maxDropped: 0.9,
    });
    const kept = await stack.keep(tokenizer, vocabSize);
    const shared = { data: options, questions: [], seed: 1, unread: {}, tokenizer: kept };
    // Start-up is apart: threads are started and their code is compiled by another, smaller corpus.
    await stack.preprocess({ dataset: await stack.ingest(warmUp, 'warm-up'), ...shared });
    const began = performance.now();
    const dataset = await stack.ingest(input, 'english');
    const ingestS = (performance.now() - began) / 1000;
    const result = await stack.preprocess({ dataset, ...shared });
    const seconds = (performance.now() - began) / 1000;
    const rate = corpus.bytes / 1e6 / seconds;
    const peakBytes = stack.peakMemory();
    say(
      `temper: ${seconds.toFixed(1)} s, ingest ${ingestS.toFixed(1)} s of them; ${rate.toFixed(2)} MB/s`,
    );
    const decisions = await decisionsOf(stack.store, dataset, result.corpus);
    const { numTokens } = result.summary;
    return { seconds, ingestS, rate, peakBytes, numTokens, decisions };
  });

  const config = path.join(home, 'datatrove.json');
  const output = path.join(home, 'datatrove');
  writeFileSync(
    config,
    JSON.stringify({
      input,
      output,
      workers: 2,
      filters: true,
      repeatedGrams,
      tokenizer,
      language: 'eng',
    }),
  );
  const script = path.join(projectDir, 'bench/support/datatrove_peer.py');
  const { stdout } = await execa(python, [script, config]);
  const peer = peerSchema.parse(JSON.parse(stdout));
  const peerS = Object.values(peer.seconds).reduce((sum, one) => sum + one, 0);
  const peerRate = corpus.bytes / 1e6 / peerS;
  say(`datatrove: ${peerS.toFixed(1)} s, ${peerRate.toFixed(2)} MB/s`);

  const theirs = new Map(
    peer.decisions.map(([id, reason, cluster]): [number, Decision] => [
      Number(id),
      { reason, cluster },
    ]),
  );
  const agreement = compareDecisions(corpus.documents, ours.decisions, theirs);
  for (const { count, what } of agreement.differences) say(`  ${count} × ${what}`);
  // The same rule and threshold, but datatrove counts each punctuation mark as a word without letters.
  const alphabetic = new Map(
    [...theirs].filter(([, { reason }]) => reason === 'gopher_below_alpha_threshold'),
  );
  const apart = compareDecisions(
    corpus.documents.filter(({ key }) => !alphabetic.has(key)),
    ours.decisions,
    theirs,
  );
  const { decisions: _, ...figures } = ours;
  return {
    figures: {
      numDocuments: corpus.numDocuments,
      bytes: corpus.bytes,
      temper: figures,
      datatrove: {
        seconds: peerS,
        steps: peer.seconds,
        rate: peerRate,
        numTokens: peer.numTokens,
      },
      ratio: ours.rate / peerRate,
      agreement,
      punctuationAsWords: { documents: alphabetic.size, alikeWithout: apart.alike },
    },
    bounds: [
      { name: 'times the throughput of datatrove', value: ours.rate / peerRate, min: 10 },
      { name: 'share of documents decided alike', value: agreement.alike, min: 0.99 },
      {
        name: 'the same, without those in which datatrove counts punctuation as words',
        value: apart.alike,
        min: 0.99,
      },
      { name: 'peak memory of the data worker, GB', value: ours.peakBytes / 1e9, max: 1 },
    ],
  };
}

/** What became of each document, by its key. */
async function decisionsOf(
  store: Store,
  { name, version }: { name: string; version: number },
  corpus: string,
): Promise<Map<number, Decision>> {
  const dataset = await getDataset(store, name, version);
  const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  if (dataset === null || manifest === null) throw new Error('found no corpus, expected one');
  const dropped = new Map(
    ((await readJsonLines(store, manifest.droppedDocuments)) as DroppedDocument[]).map((one) => [
      one.source,
      one,
    ]),
  );
  const decisions = new Map<number, Decision>();
  for (const { documents } of dataset.shards) {
    for (const { source, metadata } of (await readJsonLines(store, documents)) as Document[]) {
      const reason = dropped.get(source)?.reason ?? 'kept';
      decisions.set(Number(metadata['key']), { reason, cluster: -1 });
    }
  }
  return decisions;
}
