/** Near duplicates in Chinese against pairs whose similarity was computed exactly: precision and recall, beside datatrove's on the same documents. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { execa } from 'execa';
import { z } from 'zod';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { findDuplicates } from '../../corpus/duplicates.ts';
import { numBands, numHashes } from '../../corpus/minhash.ts';
import { projectDir } from '../../infra/layout.ts';
import { say, type Measured } from './bench.ts';
import { peerPackages, peerPython } from './peer-environment.ts';

/** A pair is a duplicate from this Jaccard similarity of its character 5-grams on. */
const thresholds = [0.7, 0.8, 0.9];
const judgedAt = 0.8;
/** Only pairs at least this similar are labelled. */
const leastLabelled = 0.5;

const sets = [
  { name: 'laws', documents: 'pretrain/tw_law_zh.jsonl.gz', pairs: 'dedup/tw_law_zh_pairs.csv.gz' },
  {
    name: 'translations',
    documents: 'dedup/wmt22_en-zh_docs.jsonl.gz',
    pairs: 'dedup/wmt22_en-zh_pairs.csv.gz',
  },
] as const;

interface Labelled {
  a: string;
  b: string;
  jaccard: number;
}

interface LabelledDocument {
  id: string;
  text: string;
}

export async function labelledPairs(home: string, { data }: { data: string }): Promise<Measured> {
  const python = await peerPython('datatrove', peerPackages);
  const figures: Record<string, unknown> = {};
  const bounds: Measured['bounds'] = [];
  for (const set of sets) {
    const read = (file: string): string[] =>
      gunzipSync(readFileSync(path.join(data, file)))
        .toString('utf8')
        .split('\n')
        .filter(Boolean);
    const documents = read(set.documents).map((line) => JSON.parse(line) as LabelledDocument);
    const pairs = read(set.pairs)
      .slice(1)
      .map((line): Labelled => {
        const [a, b, jaccard] = line.split(',');
        return { a: a!, b: b!, jaccard: Number(jaccard) };
      });
    const ours = scores(pairs, ourClusters(documents));
    const theirs = scores(pairs, await theirClusters(path.join(home, set.name), python, documents));
    figures[set.name] = { documents: documents.length, pairs: pairs.length, ours, theirs };
    const at = (found: typeof ours) => found.recall.find(({ jaccard }) => jaccard === judgedAt)!;
    say(
      `${set.name}: precision ${ours.precision.toFixed(3)} and recall ${at(ours).recall.toFixed(3)}, ` +
        `datatrove ${theirs.precision.toFixed(3)} and ${at(theirs).recall.toFixed(3)}`,
    );
    bounds.push(
      {
        name: `${set.name}: precision against datatrove's`,
        value: ours.precision - theirs.precision,
        min: 0,
      },
      {
        name: `${set.name}: recall against datatrove's`,
        value: at(ours).recall - at(theirs).recall,
        min: 0,
      },
    );
  }
  return { figures, bounds };
}

/**
 * Two documents count as found where they are in one cluster. Precision: of all found pairs, those that are labelled
 * as at least half alike. Recall: of the pairs of a similarity, those found.
 */
function scores(pairs: readonly Labelled[], clusters: ReadonlyMap<string, string>) {
  const together = ({ a, b }: { a: string; b: string }): boolean =>
    clusters.has(a) && clusters.get(a) === clusters.get(b);
  const sizes = new Map<string, number>();
  for (const cluster of clusters.values()) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
  const found = [...sizes.values()].reduce((sum, size) => sum + (size * (size - 1)) / 2, 0);
  const right = pairs.filter((pair) => pair.jaccard >= leastLabelled && together(pair)).length;
  return {
    found,
    precision: found === 0 ? 1 : right / found,
    recall: thresholds.map((jaccard) => {
      const alike = pairs.filter((pair) => pair.jaccard >= jaccard);
      return { jaccard, pairs: alike.length, recall: alike.filter(together).length / alike.length };
    }),
  };
}

/** The survivor of each document's cluster. */
function ourClusters(documents: readonly LabelledDocument[]): Map<string, string> {
  const raw = documents.map(({ id, text }) => ({ id, source: id, text, metadata: {} }));
  const cleaned = cleanShard(raw, { personalData: 'keep', quality: false });
  const width = numBands * 2;
  const fingerprints = cleaned.documents.map(({ id, source }, index) => ({
    id,
    source,
    content: cleaned.contents[index]!,
    bands: cleaned.bands.subarray(index * width, (index + 1) * width),
    sketch: cleaned.sketches.subarray(index * numHashes, (index + 1) * numHashes),
  }));
  const clusters = new Map(documents.map(({ id }) => [id, id]));
  for (const { index, survivor } of findDuplicates(fingerprints))
    clusters.set(fingerprints[index]!.id, survivor);
  return clusters;
}

const peerSchema = z.object({
  decisions: z.array(z.tuple([z.string(), z.string(), z.number()])),
});

async function theirClusters(
  home: string,
  python: string,
  documents: readonly LabelledDocument[],
): Promise<Map<string, string>> {
  const input = path.join(home, 'input');
  mkdirSync(input, { recursive: true });
  const lines = documents.map(({ id, text }) => `${JSON.stringify({ id, text })}\n`);
  writeFileSync(path.join(input, '0.jsonl'), lines.join(''));
  const config = path.join(home, 'datatrove.json');
  writeFileSync(
    config,
    JSON.stringify({
      input,
      output: path.join(home, 'output'),
      workers: 1,
      filters: false,
      repeatedGrams: [],
      tokenizer: null,
      language: 'cmn_Hani',
    }),
  );
  const script = path.join(projectDir, 'bench/support/datatrove_peer.py');
  const { stdout } = await execa(python, [script, config]);
  const { decisions } = peerSchema.parse(JSON.parse(stdout));
  return new Map(decisions.map(([id, , cluster]) => [id, cluster < 0 ? id : `cluster ${cluster}`]));
}
