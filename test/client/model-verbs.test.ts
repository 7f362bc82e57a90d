/** `models diff`, `promote` and `pull`, on a registry of its own. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { movedLines } from '../../client/cli/models.ts';
import { diffModels } from '../../client/model-diff.ts';
import { openModels } from '../../client/models.ts';
import { modelManifestSchema, type ModelVersion } from '../../config/manifests.ts';
import { blobKey, putBlobFile } from '../../registry/blobs.ts';
import { registerModel } from '../../registry/models.ts';
import { putRunRecord } from '../../registry/runs.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import { runCommand } from '../support/command.ts';
import { python, testBundles, uploadBundle } from '../support/bundles.ts';
import { fakeEndpoints } from '../support/fake-endpoints.ts';
import { digestOf, modelOf, versionOf } from '../support/records.ts';
import { recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

const run = promisify(execFile);
const now = new Date(0);
let s3: TestS3;
let folder: string;

beforeAll(async () => {
  [s3, folder] = await Promise.all([startS3(), mkdtemp(path.join(os.tmpdir(), 'temper-models-'))]);
}, 60_000);
afterAll(async () => {
  await s3.stop();
  await rm(folder, { recursive: true, force: true });
});

function temper(...args: string[]) {
  return runCommand(s3, ['models', ...args], { cwd: folder });
}

function evaluated(value: number, bundle: string): ModelVersion['evaluations'] {
  const latency = { firstTokenMs: 1, tokensPerSecond: 1, probeDifference: 0 };
  const metrics = { valBpb: { value, stderr: null, count: 1 } };
  return { 'evaluate-base': { schemaVersion: 1, bundle, metrics, latency, samples: [] } };
}

describe('diff', () => {
  const lora = { rank: 16, alpha: 32, mergeShare: 0.7 };
  const slower = { ...recipe, pretrain: { ...recipe.pretrain, learningRate: 0.001, lora } };
  beforeAll(async () => {
    for (const [name, plan, value] of [
      ['diff-1', recipe, 1.5],
      ['diff-2', slower, 1.25],
    ] as const) {
      await putRunRecord(s3.store, name, 'plan', plan);
      const bundle = digestOf(name.slice(-1));
      const version = versionOf('diff', bundle, bundle);
      const lineage = { ...version.lineage, run: name, recipe: stageDigest(plan) };
      if (name === 'diff-2') {
        // A person changed its rate, and it went on from another version.
        const weights = { sha256: bundle, bytes: 7 };
        const model = { ...modelOf(weights), learningRates: [{ step: 812, scale: 0.5 }] };
        await recordStage(s3.store, 'pretrain', bundle, modelManifestSchema, model);
        const phase = { phase: 'pretrain', model: stageDigest(model), weights: bundle };
        lineage.phases = [{ ...phase, stage: bundle }];
        lineage.parent = { name: 'diff', version: 1 };
      }
      const evaluations = evaluated(value, bundle);
      await registerModel(s3.store, { ...version, lineage, evaluations }, now);
    }
  });

  test('tells what differs in data, recipe, evaluations and digests, and how much is equal', async () => {
    const { exitCode, stdout } = await temper('diff', 'diff@1', 'diff@2');
    expect(exitCode).toBe(0);
    const lines = stdout.split('\n').map((line) => line.trim().split(/ {2,}/));
    expect(lines[0]).toEqual(['diff@1', 'diff@2']);
    expect(lines).toContainEqual(['made', 'run', 'diff-1', 'diff-2']);
    expect(lines).toContainEqual([
      'recipe',
      'pretrain.learningRate',
      String(recipe.pretrain.learningRate),
      '0.001',
    ]);
    expect(lines).toContainEqual(['pretrain.lora.rank', '–', '16']);
    expect(lines).toContainEqual(['goes on from', '–', 'diff@1']);
    expect(lines).toContainEqual(['pretrain: rate as ordered', '–', '×0.5 from step 812']);
    expect(lines).toContainEqual(['evaluation', 'evaluate-base: valBpb', '1.5', '1.25']);
    expect(stdout).toContain(`bundle`);
    expect(stdout).toContain('sha256:111111111111');
    expect(stdout).not.toContain('model.numLayers');
    expect(lines.at(-1)![0]).toMatch(
      /^11 of \d+ fields differ; \d+ are equal \(--all shows them\)$/,
    );
    expect((await temper('diff', 'diff@1', 'diff@2', '--all')).stdout).toContain('model.numLayers');
  });

  test('tells which base model was adapted and what that brought, and show tells it too', async () => {
    const weights = { sha256: digestOf('6'), bytes: 7 };
    const model = { ...modelOf(weights), adapted: { valBpbBefore: 0.7551, valBpb: 0.6693 } };
    await recordStage(s3.store, 'pretrain', digestOf('6'), modelManifestSchema, model);
    const phase = { phase: 'pretrain', model: stageDigest(model), weights: weights.sha256 };
    const plainOne = versionOf('based', digestOf('5'));
    await registerModel(s3.store, plainOne, now);
    const version = versionOf('based', digestOf('6'));
    const lineage = {
      ...version.lineage,
      phases: [{ ...phase, stage: digestOf('6') }],
      base: { name: 'smollm2', title: 'SmolLM2', license: 'Apache-2.0', weights: digestOf('9') },
    };
    await registerModel(s3.store, { ...version, lineage }, now);

    const diff = await temper('diff', 'based@1', 'based@2');
    const lines = diff.stdout.split('\n').map((line) => line.trim().split(/ {2,}/));
    const gain = 'held-out text 0.755 → 0.669 bits a byte';
    expect(lines).toContainEqual(['made', 'adapts', '–', 'SmolLM2 (Apache-2.0)']);
    expect(lines).toContainEqual(['evaluation', 'pretrain: adapted', '–', gain]);
    expect(lines.some((line) => line.includes('base weights'))).toBe(true);

    const shown = (await temper('show', 'based@2')).stdout;
    expect(shown).toMatch(/adapts +SmolLM2 \(Apache-2\.0\), sha256:999999999999/);
    expect(shown).toMatch(new RegExp(`adapted +${gain}`));
    const { adapted } = JSON.parse((await temper('show', 'based@2', '--json')).stdout);
    expect(adapted).toEqual(model.adapted);
    expect((await temper('show', 'based@1')).stdout).not.toContain('adapt');
  });

  test('leaves a recipe out that is not the one of its version', async () => {
    const { show } = openModels({} as Client, () => s3.store);
    const [a, b] = [(await show('diff@1')).version, (await show('diff@2')).version];
    const stale = { ...b, lineage: { ...b.lineage, run: 'diff-1' } };
    const rows = await diffModels(s3.store, a, stale);
    expect(rows.find(({ field }) => field === 'pretrain.learningRate')).toMatchObject({
      a: recipe.pretrain.learningRate,
      b: null,
    });
  });

  test('a version that there is not is one sentence', async () => {
    const { exitCode, stderr } = await temper('diff', 'diff@1', 'diff@9');
    expect([exitCode, stderr]).toEqual([
      2,
      'diff: found no version 9, expected 1, 2. Name one of them; npx temper models list shows what is served.',
    ]);
  });
});

describe('promote', () => {
  const { client, asked } = fakeEndpoints(() => s3.store);
  const wish = { by: 'ann', reason: 'better tone' };
  beforeAll(async () => {
    for (const letter of ['1', '2']) {
      await registerModel(s3.store, versionOf('tone', digestOf(letter), digestOf(letter)), now);
    }
  });

  test('needs a version that there is', async () => {
    const { promote } = openModels(client, () => s3.store);
    await expect(promote('tone', wish)).rejects.toMatchObject({
      kind: 'input',
      message: expect.stringContaining('expected the version to promote, such as tone@2'),
    });
    await expect(promote('tome@1', wish)).rejects.toThrow('Did you mean tone?');
    await expect(promote('tone@9', wish)).rejects.toThrow('found no version 9, expected 1, 2');
  });

  test('serves the first version at a named endpoint, the next wherever the model is served, and nothing twice', async () => {
    const { promote } = openModels(client, () => s3.store);
    expect(await promote('tone@1', { ...wish, endpoint: 'desk' })).toMatchObject({
      model: 'tone',
      from: null,
      to: 1,
      deployments: [{ endpoint: 'desk', convergedMs: 5 }],
    });
    expect(await promote('tone@2', wish)).toMatchObject({ from: 1, to: 2 });
    expect(asked).toEqual(['desk: 1 by ann: better tone', 'desk: 2 by ann: better tone']);
    await expect(promote('tone@2', wish)).rejects.toThrow('already the champion: nothing moved');
  });

  test('what moved is told with where it is served, or that it is served nowhere', () => {
    const moved = { model: 'tone', from: 2, to: 1, deployments: [] };
    expect(movedLines(moved)).toEqual([
      'tone@2 → tone@1: the champion, and no endpoint serves tone.',
      '  serve it: npx temper models promote tone@1 --endpoint tone',
    ]);
    const served = { endpoint: 'desk', generation: 3, bundle: '', url: '', convergedMs: 1234 };
    expect(movedLines({ ...moved, from: null, deployments: [served] })).toEqual([
      'tone@1 at desk in 1.2 s (generation 3)',
    ]);
  });
});

describe('pull', () => {
  const loads = `
import json, sys
import numpy, onnxruntime, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
probe = json.load(open(folder + '/probe.json'))
s = json.load(open(folder + '/serving.json'))
ids = probe['promptIds']
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
with torch.no_grad():
    pytorch = model(torch.tensor([ids])).logits[0, -1].numpy()
session = onnxruntime.InferenceSession(folder + '/model.onnx')
feeds = {}
for i in session.get_inputs():
    if i.name == 'input_ids': feeds[i.name] = numpy.array([ids], dtype=numpy.int64)
    elif i.name == 'attention_mask': feeds[i.name] = numpy.ones((1, len(ids)), dtype=numpy.int64)
    else: feeds[i.name] = numpy.zeros((1, s['numKvHeads'], 0, s['headDim']), dtype=numpy.float32)
onnx = session.run(['logits'], feeds)[0][0, -1]
text = AutoTokenizer.from_pretrained(folder).decode(ids[1:])
expected = numpy.array(probe['logits'])
print(json.dumps([float(abs(pytorch - expected).max()), float(abs(onnx - expected).max()), text]))
`;
  const makes = `
import sys
sys.path.insert(0, sys.argv[1])
from make_bundle import make_model, make_tokenizer
make_model(7, make_tokenizer().get_vocab_size()).save_pretrained(sys.argv[2])
`;
  const python3 = async (script: string, ...args: string[]) =>
    (await run(python, ['-c', script, ...args], { env: { ...process.env, HF_HUB_OFFLINE: '1' } }))
      .stdout;
  let weights: { sha256: string; bytes: number };
  beforeAll(async () => {
    const bundles = await testBundles();
    const made = path.join(folder, 'made');
    await python3(makes, path.resolve(import.meta.dirname, '../support'), made);
    weights = await putBlobFile(s3.store, path.join(made, 'model.safetensors'));
    const whole = path.join(folder, 'bundle');
    await cp(bundles.chat, whole, { recursive: true });
    for (const file of ['config.json', 'tokenizer_config.json'])
      await cp(path.join(bundles.tokenizer, file), path.join(whole, file));
    const manifest = await uploadBundle(s3.store, whole, weights.sha256);
    const version = versionOf('pulled', stageDigest(manifest), weights.sha256);
    await registerModel(
      s3.store,
      { ...version, bundle: { digest: stageDigest(manifest), manifest } },
      now,
    );
  }, 120_000);

  test('writes a folder that transformers and onnxruntime load, to the logits of the probe', async () => {
    const { exitCode, stdout } = await temper('pull', 'pulled@1', '--json');
    expect(exitCode).toBe(0);
    const pulled = JSON.parse(stdout) as { folder: string; files: { name: string }[] };
    expect(path.basename(pulled.folder)).toBe('pulled-1');
    expect(pulled.files.map(({ name }) => name)).toContain('model.safetensors');
    const record = JSON.parse(await readFile(path.join(pulled.folder, 'temper.json'), 'utf8'));
    expect(record).toMatchObject({ name: 'pulled', version: 1 });
    const [pytorch, onnx, text] = JSON.parse(await python3(loads, pulled.folder));
    expect([pytorch < 1e-4, onnx < 1e-3, text]).toEqual([true, true, 'The state of']);
  }, 120_000);

  test('never writes over a folder', async () => {
    const { exitCode, stderr } = await temper('pull', 'pulled', 'made');
    expect([exitCode, stderr]).toEqual([
      2,
      'made is there already: name another folder, or take it away. Nothing was written.',
    ]);
  });

  test('a blob that is damaged leaves no folder, not even a part of one', async () => {
    const before = await readdir(folder);
    const key = blobKey(weights.sha256);
    const { bytes, etag } = (await s3.store.get(key))!;
    const broken = Buffer.from(bytes);
    broken[100]! ^= 1;
    await s3.store.replace(key, broken, etag);
    await writeFile(path.join(folder, 'note'), '');
    const { exitCode, stderr } = await temper('pull', 'pulled', 'damaged');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('is damaged: found SHA-256');
    expect((await readdir(folder)).toSorted()).toEqual([...before, 'note'].toSorted());
  });
});
