/** Encoding alone, on the same cores as Hugging Face's own batch encoding, to the same ids; Chinese too, whose words no space separates. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { execa } from 'execa';
import { z } from 'zod';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { projectDir, python } from '../../infra/layout.ts';
import { say, type Measured } from './bench.ts';
import { englishDocuments, readPassages } from './english-corpus.ts';
import { gpt2Tokenizer, peerPackages, peerPython } from './peer-environment.ts';

const numThreads = 2;
/** Text of a shard, as the split makes them. */
const shardBytes = 2_000_000;
const rounds = 3;

interface Text {
  name: string;
  tokenizer: string;
  vocabSize: number;
  texts: string[];
}

/** Measures English with GPT-2's tokenizer, and Chinese with that one and with one trained on it. */
export async function encodingAlone(
  home: string,
  { data, megabytes, seed }: { data: string; megabytes: number; seed: number },
): Promise<Measured> {
  const peer = await peerPython('datatrove', peerPackages);
  const gpt2 = await gpt2Tokenizer(peer, data, home);
  const english = [...englishDocuments(readPassages(data), megabytes * 1e6, seed)].map(
    ({ text }) => text,
  );
  const chinese = chineseTexts(data);
  const trained = await trainedOn(home, chinese);
  const figures: Record<string, Awaited<ReturnType<typeof measured>>> = {};
  for (const text of [
    { name: 'English', tokenizer: gpt2, vocabSize: 50_257, texts: english },
    { name: 'Chinese', tokenizer: trained, vocabSize: trainedVocabSize, texts: chinese },
    { name: "Chinese, GPT-2's tokenizer", tokenizer: gpt2, vocabSize: 50_257, texts: chinese },
  ])
    figures[text.name] = await measured(home, peer, text);
  return {
    figures,
    bounds: Object.entries(figures).flatMap(([name, { ratio, sameIds }]) => [
      ...(name === 'English'
        ? [{ name: 'times the throughput of batch encoding', value: ratio, min: 3 }]
        : []),
      { name: `${name}: the same ids`, value: sameIds ? 1 : 0, min: 1 },
    ]),
  };
}

const trainedVocabSize = 16_384;

function chineseTexts(data: string): string[] {
  return gunzipSync(readFileSync(path.join(data, 'pretrain/tw_law_zh.jsonl.gz')))
    .toString('utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { text: string }).text);
}

async function trainedOn(home: string, texts: readonly string[]): Promise<string> {
  const input = path.join(home, 'chinese.jsonl');
  const output = path.join(home, 'chinese-tokenizer.json');
  // Half of the text, so that the other half has words that the tokenizer has not met.
  const half = texts.slice(0, texts.length / 2).map((text) => `${JSON.stringify({ text })}\n`);
  writeFileSync(input, half.join(''));
  const config = path.join(home, 'tokenizer-run.json');
  const run = { schemaVersion: 1, inputs: [input], vocabSize: trainedVocabSize, output };
  writeFileSync(config, JSON.stringify(run));
  await execa(python, ['-m', 'trainer.tokenizer', '--config', config], { cwd: projectDir });
  return output;
}

async function measured(home: string, peer: string, { name, tokenizer, vocabSize, texts }: Text) {
  const megabytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6;
  const lines = texts.map((text, index) =>
    JSON.stringify({ id: String(index), metadata: {}, source: 'bench', text }),
  );
  const documents = path.join(home, 'documents.jsonl');
  writeFileSync(documents, `${lines.join('\n')}\n`);
  const theirIds = path.join(home, 'ids.bin');
  const script = path.join(projectDir, 'bench/support/batch_encode.py');
  const ours: number[] = [];
  const theirs: number[] = [];
  let sameIds = true;
  for (let round = 0; round < rounds; round += 1) {
    const { stdout } = await execa(
      peer,
      [script, tokenizer, documents, theirIds, '<|endoftext|>'],
      {
        env: { RAYON_NUM_THREADS: String(numThreads), TOKENIZERS_PARALLELISM: 'true' },
      },
    );
    theirs.push(z.object({ seconds: z.number() }).parse(JSON.parse(stdout)).seconds);
    const { seconds, tokens } = await inThreads(shardsOf(lines), tokenizer, vocabSize);
    ours.push(seconds);
    sameIds &&= tokens.equals(readFileSync(theirIds));
  }
  const rate = (seconds: number[]): number => megabytes / Math.min(...seconds);
  const ratio = rate(ours) / rate(theirs);
  say(
    `${name}: ${rate(ours).toFixed(1)} MB/s, batch encoding ${rate(theirs).toFixed(1)} MB/s, ${sameIds ? 'same ids' : 'OTHER IDS'}`,
  );
  return { megabytes, rate: rate(ours), batchRate: rate(theirs), ratio, sameIds };
}

function shardsOf(lines: readonly string[]): Buffer[] {
  const shards: Buffer[] = [];
  let open: string[] = [];
  let size = 0;
  for (const line of lines) {
    open.push(`${line}\n`);
    size += line.length;
    if (size < shardBytes) continue;
    shards.push(Buffer.from(open.join('')));
    open = [];
    size = 0;
  }
  if (open.length > 0) shards.push(Buffer.from(open.join('')));
  return shards;
}

/** As the data worker does it, reading of the documents and packing of the tokens included; threads and tokenizer are up before the clock. */
async function inThreads(shards: Buffer[], tokenizerFile: string, vocabSize: number) {
  const tokenizer = readFileSync(tokenizerFile);
  const sha256 = createHash('sha256').update(tokenizer).digest('hex');
  const threads = new ThreadPool(numThreads);
  const encode = async (documents: Buffer) =>
    threads.run('encode', { documents, sha256, tokenizer, vocabSize });
  const first = Buffer.from(`${shards[0]!.toString('utf8').split('\n', 1)[0]}\n`);
  await Promise.all(Array.from({ length: numThreads }, async () => encode(first)));
  const began = performance.now();
  const encoded = await Promise.all(shards.map(encode));
  const seconds = (performance.now() - began) / 1000;
  await threads.close();
  const tokens = encoded.map((shard) => {
    if (shard === null) throw new Error('a shard was left to the library, expected none');
    return shard.tokens;
  });
  return { seconds, tokens: Buffer.concat(tokens) };
}
