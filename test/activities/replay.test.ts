/** A corpus parted by what a model was trained on before: each document in one part, with its own tokens. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createReplayActivities, type ReplayInput } from '../../activities/replay.ts';
import { corpusManifestSchema, type CorpusManifest } from '../../config/manifests.ts';
import { Packer } from '../../corpus/pack.ts';
import { putBlob, readBlob } from '../../registry/blobs.ts';
import { putJob } from '../../registry/jobs.ts';
import { findStage, recordStage, stageDigest } from '../../registry/stages.ts';
import { corpusOf } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3 } from '../support/s3.ts';
import { scriptedDeps } from '../support/scripted-host.ts';

let s3: Awaited<ReturnType<typeof startS3>>;
beforeAll(async () => {
  s3 = await startS3();
}, 60_000);
afterAll(async () => s3.stop());

/** The tokens of a document are its number, so often. */
const lengths: Record<string, number> = { a: 3, b: 0, c: 5, d: 1, e: 4, f: 2 };
const numberOf = (id: string) => id.charCodeAt(0);

async function shardOf(ids: string): Promise<CorpusManifest['shards'][number]> {
  const packer = new Packer(2, 0);
  for (const id of ids) packer.add(id, Array<number>(lengths[id]!).fill(numberOf(id)));
  const lines = packer.index.map((line) => `${JSON.stringify(line)}\n`).join('');
  return {
    tokens: await putBlob(s3.store, packer.bytes()),
    index: await putBlob(s3.store, Buffer.from(lines)),
    numDocuments: ids.length,
    numTokens: packer.numTokens,
  };
}

async function store(...shards: string[]): Promise<string> {
  const manifest = { ...corpusOf('replay'), shards: await Promise.all(shards.map(shardOf)) };
  const stage = stageDigest({ shards: manifest.shards });
  await recordStage(s3.store, 'preprocess', stage, corpusManifestSchema, manifest);
  return stage;
}

async function parentOf(corpus: string): Promise<ReplayInput['parent']> {
  const job = { recipe: recipe.pretrain, shape: recipe.model, machine, corpus, init: null };
  return { name: 'policy', version: 3, pretrain: await putJob(s3.store, job) };
}

async function part(input: ReplayInput): Promise<string> {
  const deps = scriptedDeps({ store: s3.store, home: '/nowhere', host: 'r' });
  const { partReplay } = createReplayActivities(deps);
  return (await new MockActivityEnvironment().run(partReplay, input)) as string;
}

/** Ids of a part, each checked against its own tokens. */
async function idsOf(shards: CorpusManifest['shards']): Promise<string> {
  let found = '';
  for (const { tokens, index, numDocuments, numTokens } of shards) {
    const bytes = await readBlob(s3.store, tokens);
    const lines = (await readBlob(s3.store, index)).toString().trimEnd().split('\n');
    expect([lines.length, bytes.length]).toEqual([numDocuments, 2 * numTokens]);
    for (const line of lines) {
      const { id, first, num } = JSON.parse(line) as { id: string; first: number; num: number };
      const words = Array.from({ length: num + 1 }, (_, at) =>
        bytes.readUInt16LE(2 * (first + at)),
      );
      expect(words).toEqual([...Array<number>(lengths[id]!).fill(numberOf(id)), 0]);
      found += id;
    }
  }
  return found;
}

test('older documents lie apart from new ones, each whole, and a second time it is found', async () => {
  const parent = await parentOf(await store('ab', 'c'));
  const corpus = await store('adb', 'ef', 'c');
  const stage = await part({ corpus, parent });
  const parted = (await findStage(s3.store, 'preprocess', stage, corpusManifestSchema))!;
  expect(await idsOf(parted.shards)).toBe('def');
  expect(await idsOf(parted.older!)).toBe('abc');
  // A shard of one kind is taken as it is.
  const whole = (await findStage(s3.store, 'preprocess', corpus, corpusManifestSchema))!;
  expect(parted.shards[1]).toEqual(whole.shards[1]);
  expect({ ...parted, shards: [], older: [] }).toEqual({ ...whole, shards: [], older: [] });
  expect(await part({ corpus, parent })).toBe(stage);
  expect(stage).not.toBe(corpus);

  // What was replayed is known to the next one too.
  const next = await part({ corpus: await store('adbefc', 'ab'), parent: await parentOf(corpus) })
    .then(() => '')
    .catch((error: Error) => error.message);
  expect(next).toContain('no document that is new to policy@3');
  const onward = await parentOf(stage);
  await expect(part({ corpus: await store('abcdef'), parent: onward })).rejects.toThrow(
    'found no document that is new to policy@3 among the sources, expected older and new ones',
  );
});

test('sources without the older documents, and a version whose job is not kept, are refused', async () => {
  const parent = await parentOf(await store('ab'));
  const corpus = await store('cd');
  await expect(part({ corpus, parent })).rejects.toThrow(
    'found none of the documents of policy@3 among the sources',
  );
  for (const pretrain of [null, 'e'.repeat(64)])
    await expect(part({ corpus, parent: { ...parent, pretrain } })).rejects.toThrow(
      'what policy@3 was pretrained on is not recorded',
    );
});
