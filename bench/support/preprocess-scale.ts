/** How preparing a corpus grows: with the workers, each on a core of its own, and with the size of the text. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { preprocessInputSchema } from '../../activities/preprocess-input.ts';
import { say, type Measured } from './bench.ts';
import { withDataWorkers } from './data-workers.ts';
import { englishDocuments, readPassages, writeEnglish } from './english-corpus.ts';
import { gpt2Tokenizer, peerPackages, peerPython } from './peer-environment.ts';

export interface CorpusSettings {
  data: string;
  megabytes: number;
  seed: number;
}

const vocabSize = 50_257;
/** Text of a file: read whole, as most files are. */
const fileMegabytes = 25;
const warmUpMegabytes = 6;

interface Preparation {
  megabytes: number;
  cores: readonly string[];
}

interface Prepared {
  /** Of reading the files, and of the workflow after it. */
  ingestS: number;
  workflowS: number;
  /** Of any data worker: until the files were read, and until the end. */
  ingestPeakBytes: number;
  peakBytes: number;
  corpus: string;
  kept: number;
  numTokens: number;
}

/** Prepares a corpus on fresh workers and a fresh store; a smaller one goes first, so that start-up is apart. */
async function prepared(
  home: string,
  { data, seed }: CorpusSettings,
  tokenizer: string,
  { megabytes, cores }: Preparation,
): Promise<Prepared> {
  const passages = readPassages(data);
  const write = async (name: string, size: number, from: number): Promise<string> => {
    const folder = path.join(home, name);
    mkdirSync(folder, { recursive: true });
    const numFiles = Math.max(2, Math.ceil(size / fileMegabytes));
    const files = Array.from({ length: numFiles }, (_, index) =>
      path.join(folder, `${String(index).padStart(4, '0')}.jsonl`),
    );
    await writeEnglish(englishDocuments(passages, size * 1e6, from), files);
    return folder;
  };
  const warmUp = await write('warm-up', warmUpMegabytes, seed + 1);
  const input = await write('corpus', megabytes, seed);
  const result = await withDataWorkers(path.join(home, 'stack'), cores, async (stack) => {
    const shared = {
      data: preprocessInputSchema.shape.data.parse({
        personalData: 'redact',
        quality: true,
        heldOut: 0.005,
        maxDropped: 0.9,
      }),
      questions: [],
      seed: 1,
      unread: {},
      tokenizer: await stack.keep(tokenizer, vocabSize),
    };
    await stack.preprocess({ dataset: await stack.ingest(warmUp, 'warm-up'), ...shared });
    const began = performance.now();
    const dataset = await stack.ingest(input, 'english');
    const ingestS = (performance.now() - began) / 1000;
    const ingestPeakBytes = stack.peakMemory();
    const { corpus, summary } = await stack.preprocess({ dataset, ...shared });
    const workflowS = (performance.now() - began) / 1000 - ingestS;
    const { kept, numTokens } = summary;
    const peakBytes = stack.peakMemory();
    return { ingestS, workflowS, ingestPeakBytes, peakBytes, corpus, kept, numTokens };
  });
  for (const name of ['warm-up', 'corpus', 'stack'])
    rmSync(path.join(home, name), { recursive: true, force: true });
  say(
    `${megabytes} MB, ${cores.length} workers: ingest ${result.ingestS.toFixed(1)} s, workflow ${result.workflowS.toFixed(1)} s, ` +
      `peak ${(result.ingestPeakBytes / 1e6).toFixed(0)}, then ${(result.peakBytes / 1e6).toFixed(0)} MB`,
  );
  return result;
}

/** One worker on one core, then two on two, each time with the server and the store on the same cores. */
export async function byWorkers(home: string, settings: CorpusSettings): Promise<Measured> {
  const python = await peerPython('datatrove', peerPackages);
  const tokenizer = await gpt2Tokenizer(python, settings.data, home);
  const { megabytes } = settings;
  const one = await prepared(home, settings, tokenizer, { megabytes, cores: ['0'] });
  const two = await prepared(home, settings, tokenizer, { megabytes, cores: ['0', '1'] });
  const ratio = one.workflowS / two.workflowS;
  return {
    figures: { megabytes, one, two, ratio, sameCorpus: one.corpus === two.corpus },
    bounds: [
      { name: 'times the throughput with a second worker and its core', value: ratio, min: 1.7 },
      { name: 'the same corpus', value: one.corpus === two.corpus ? 1 : 0, min: 1 },
    ],
  };
}

/** Three sizes, each ten times the one before: memory stays, and time grows no faster than the text. */
export async function bySize(home: string, settings: CorpusSettings): Promise<Measured> {
  const python = await peerPython('datatrove', peerPackages);
  const tokenizer = await gpt2Tokenizer(python, settings.data, home);
  const runs: ({ megabytes: number } & Prepared)[] = [];
  for (const megabytes of [settings.megabytes / 100, settings.megabytes / 10, settings.megabytes]) {
    const cores = ['0,1'];
    const run = await prepared(home, settings, tokenizer, { megabytes, cores });
    runs.push({ megabytes, ...run });
  }
  const perMegabyte = runs.map(
    ({ megabytes, ingestS, workflowS }) => (ingestS + workflowS) / megabytes,
  );
  const peak = Math.max(...runs.map(({ peakBytes }) => peakBytes));
  return {
    figures: { runs, secondsPerMegabyte: perMegabyte },
    bounds: [
      { name: 'peak memory of the data worker, GB', value: peak / 1e9, max: 1 },
      {
        name: 'time for a megabyte of the largest against that of the smallest',
        value: perMegabyte.at(-1)! / perMegabyte[0]!,
        max: 1.1,
      },
    ],
  };
}
