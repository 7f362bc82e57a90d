import { afterAll, beforeAll, expect, test } from 'vitest';
import { modelManifestSchema } from '../../config/manifests.ts';
import { moveAlias, registerModel } from '../../registry/models.ts';
import { findChampion, findParent, UnknownParent } from '../../registry/parents.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { digestOf, modelOf, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
const now = new Date(0);
const tokenizer = { sha256: digestOf('9'), bytes: 5 };
const base = modelOf({ sha256: digestOf('c'), bytes: 7 });
const other = modelOf({ sha256: digestOf('d'), bytes: 7 });

async function register(name: string, phases: { phase: string; model: string }[], files = {}) {
  const version = versionOf(name, digestOf(String(phases.length)));
  version.bundle.manifest.files = files;
  version.lineage.phases = phases.map((phase) => ({ ...phase, weights: digestOf('c') }));
  await registerModel(s3.store, version, now);
}

beforeAll(async () => {
  s3 = await startS3();
  const { store } = s3;
  await recordStage(store, 'pretrain', digestOf('1'), modelManifestSchema, other);
  await recordStage(store, 'pretrain', digestOf('2'), modelManifestSchema, base);
  const pretrained = { phase: 'pretrain', model: stageDigest(base) };
  const files = { 'tokenizer.json': tokenizer };
  await register('policy', [pretrained], files);
  await register('policy', [pretrained, { phase: 'sft', model: digestOf('5') }], files);
  await register('adapted', [{ phase: 'lora', model: digestOf('5') }], files);
  await register('lost', [{ phase: 'pretrain', model: digestOf('6') }], files);
});
afterAll(async () => {
  s3.store.close();
  await s3.stop();
});

test('a version is gone on from at its pretraining, before any tuning, with its tokenizer and shape', async () => {
  expect(await findParent(s3.store, 'policy@2')).toEqual({
    name: 'policy',
    version: 2,
    pretrain: digestOf('2'),
    shape: base.shape,
    numTokens: base.numTokens,
    tokenizer: { file: tokenizer, vocabSize: base.shape.vocabSize },
    dataset: { name: 'policy', version: 1, digest: digestOf('d') },
  });
});

test('a version that is gone on from as it is comes with all that it was taught, one from a base without pretraining too', async () => {
  const { store } = s3;
  const tuned = modelOf({ sha256: digestOf('e'), bytes: 7 });
  const sft = { ...tuned, phase: 'sft' as const };
  await recordStage(store, 'sft', digestOf('4'), modelManifestSchema, sft);
  const taught = { phase: 'sft', model: stageDigest(sft) };
  const files = { 'tokenizer.json': tokenizer };
  await register('taught', [{ phase: 'pretrain', model: stageDigest(base) }, taught], files);
  expect(await findParent(store, 'taught@1', { asItIs: true })).toMatchObject({
    pretrain: digestOf('2'),
    phases: [
      { phase: 'pretrain', stage: digestOf('2') },
      { phase: 'sft', stage: digestOf('4') },
    ],
  });
  expect(await findParent(store, 'taught@1')).not.toHaveProperty('phases');

  await register('chatty', [taught], files);
  expect(await findParent(store, 'chatty@1', { asItIs: true })).toMatchObject({
    pretrain: null,
    adapted: true,
    shape: tuned.shape,
    phases: [{ phase: 'sft', stage: digestOf('4') }],
  });
  await expect(findParent(store, 'chatty@1')).rejects.toThrow('chatty@1 was not pretrained here');
  await expect(findParent(store, 'policy@2', { asItIs: true })).rejects.toThrow(
    'startFrom: sft of policy@2 is gone from',
  );
});

test('a version that names the stage of its pretraining is found without a look at any other', async () => {
  const { store } = s3;
  const version = versionOf('direct', digestOf('1'));
  version.bundle.manifest.files = { 'tokenizer.json': tokenizer };
  const phase = { phase: 'pretrain', model: stageDigest(base), weights: digestOf('c') };
  version.lineage.phases = [{ ...phase, stage: digestOf('2') }];
  await registerModel(store, version, now);
  const listed: string[] = [];
  const watched: Store = {
    ...store,
    list(prefix) {
      listed.push(prefix);
      return store.list(prefix);
    },
  };
  expect(await findParent(watched, 'direct@1')).toMatchObject({ pretrain: digestOf('2') });
  expect(listed.filter((prefix) => prefix.startsWith('stages/'))).toEqual([]);
  await findParent(watched, 'policy@1');
  expect(listed).toContain('stages/pretrain/');
});

test('the best of its line comes with a version that is not it, and is missed when it is gone', async () => {
  const { store } = s3;
  const follow = async (version: number) => {
    const next = versionOf('line', digestOf('3'), digestOf(String(version)));
    next.bundle.manifest.files = { 'tokenizer.json': tokenizer };
    next.lineage.phases = [
      { phase: 'pretrain', model: stageDigest(other), weights: digestOf(String(version)) },
    ];
    next.lineage.anchor = { name: 'policy', version };
    return (await registerModel(store, next, now)).version.version;
  };
  expect(await findParent(store, `line@${await follow(1)}`)).toMatchObject({
    pretrain: digestOf('1'),
    anchor: { name: 'policy', version: 1, pretrain: digestOf('2') },
  });
  await expect(findParent(store, `line@${await follow(9)}`)).rejects.toThrow(
    'startFrom: policy@9, the best of its line, is gone from',
  );
});

test('champion is the version that the alias names, and null before there is one', async () => {
  expect(await findChampion(s3.store, 'policy')).toBeNull();
  await expect(findParent(s3.store, 'policy@champion')).rejects.toThrow(
    'startFrom: policy has no champion yet, expected a version such as policy@2.',
  );
  await moveAlias(s3.store, 'policy', 'champion', { version: 1, by: 'me', reason: 'why', now });
  expect(await findParent(s3.store, 'policy@champion')).toMatchObject({ version: 1 });
  expect(await findChampion(s3.store, 'policy')).toMatchObject({ version: 1 });
  expect(await findChampion(s3.store, 'nobody')).toBeNull();
});

test.each([
  [
    'polcy@1',
    'startFrom: found no model "polcy", expected one that is registered (adapted, chatty, direct, line, lost, policy, taught).',
  ],
  ['policy@7', 'startFrom: found no policy@7, expected version 1, 2, or policy@champion.'],
  ['adapted@1', 'startFrom: adapted@1 was not pretrained here'],
  ['lost@1', 'startFrom: the pretraining of lost@1 is gone from'],
])('%s is refused with what there is instead', async (reference, sentence) => {
  const failure: unknown = await findParent(s3.store, reference).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(UnknownParent);
  expect((failure as Error).message).toContain(sentence);
});
