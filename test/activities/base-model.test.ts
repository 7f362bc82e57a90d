/** What is refused of a base model before anything is imported; the whole way of one is in test/e2e/adapt.test.ts. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBaseModelActivities } from '../../activities/base-model.ts';
import { trainerCode } from '../../activities/stage-records.ts';
import { knownBases } from '../../config/base-models.ts';
import { importedModelSchema } from '../../config/manifests.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import { failureOf, inActivity, startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(async () => {
  await fixture.stop();
});

const refusal = async (startFrom: string) => {
  const { importBaseModel } = createBaseModelActivities(fixture.deps);
  return await failureOf(importBaseModel, { startFrom, baseDir: fixture.folder });
};

test('a path with nothing there is refused, with what was expected', async () => {
  const failure = await refusal('./gone.gguf');
  expect(failure).toMatchObject({ type: 'InvalidConfig', nonRetryable: true });
  expect(failure.message).toContain('expected a .gguf file or a folder in transformers layout');
});

test('a known base that was imported once needs neither its package nor the network', async () => {
  const { file, sha256, shape } = knownBases['smollm2']!;
  const files = { [path.basename(file)]: sha256 };
  const stage = stageDigest({ files, code: trainerCode(fixture.deps.projectDir) });
  const blob = { sha256: 'a'.repeat(64), bytes: 1 };
  await recordStage(fixture.deps.store, 'import', stage, importedModelSchema, {
    schemaVersion: 1,
    source: { name: 'smollm2', title: 'SmolLM2', license: null, files },
    files: { 'model.safetensors': blob, 'tokenizer.json': blob },
    shape,
    chat: true,
  });
  const { importBaseModel } = createBaseModelActivities({ ...fixture.deps, python: '/none' });
  const input = { startFrom: 'smollm2', baseDir: fixture.folder };
  const { result } = await inActivity(importBaseModel, input);
  expect(result).toMatchObject({ stage, weights: blob.sha256, license: 'Apache-2.0' });
});

test('a folder of adapters, and one with what is no file, are refused', async () => {
  await fixture.put('adapters/adapter_config.json', '{"base_model_name_or_path": "/elsewhere"}');
  expect((await refusal('./adapters')).message).toContain('so adapters of another model');
  await mkdir(path.join(fixture.folder, 'odd', 'config.json'), { recursive: true });
  expect((await refusal('./odd')).message).toContain('config.json, which is no file');
});

test('a file that is no model is refused by the trainer, and leaves no record', async () => {
  await fixture.put('model.gguf', 'GGUF, and no more');
  const failure = await refusal('./model.gguf');
  expect(failure).toMatchObject({ type: 'InvalidConfig', nonRetryable: true });
  expect(failure.message).toContain('cannot be read as a model');
  const records = [];
  for await (const { key } of fixture.deps.store.list('stages/import/')) records.push(key);
  // That of the known base above.
  expect(records).toHaveLength(1);
});
