/** What is refused of a base model before anything is imported; the whole way of one is in test/e2e/adapt.test.ts. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBaseModelActivities } from '../../activities/base-model.ts';
import { knownBases } from '../../config/base-models.ts';
import { failureOf, startFixture, type Fixture } from './corpus-fixtures.ts';

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

test('a known base whose file is another than it was is refused, with both digests', async () => {
  const { package: name, version, file, sha256 } = knownBases['smollm2']!;
  const place = path.join(fixture.deps.home, 'cache/bases', `${name}-${version}`, file);
  await mkdir(path.dirname(place), { recursive: true });
  await writeFile(place, 'GGUF, but not that one');
  const failure = await refusal('smollm2');
  expect(failure).toMatchObject({ type: 'ArtifactMismatch', nonRetryable: true });
  expect(failure.message).toMatch(new RegExp(`has SHA-256 [0-9a-f]{64}, expected ${sha256}`));
});

test('a file that is no model is refused by the trainer, and leaves no record', async () => {
  await fixture.put('model.gguf', 'GGUF, and no more');
  const failure = await refusal('./model.gguf');
  expect(failure).toMatchObject({ type: 'InvalidConfig', nonRetryable: true });
  expect(failure.message).toContain('cannot be read as a model');
  const records = [];
  for await (const { key } of fixture.deps.store.list('stages/import/')) records.push(key);
  expect(records).toEqual([]);
});
