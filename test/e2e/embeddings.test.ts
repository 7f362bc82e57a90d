/**
 * The pipeline file of goal embeddings, run on a small part of its documents: real ingest, preprocessing, planning,
 * training, export, evaluation through the server, and registry. Only the deployment is recorded without a node.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import type { ReleaseActivities } from '../../activities/release.ts';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import { embeddingConfigSchema } from '../../config/manifests.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import { recipeSchema } from '../../config/recipe.ts';
import { describeMachine } from '../../infra/machine.ts';
import { downloadBlob } from '../../registry/blobs.ts';
import { moveAlias } from '../../registry/models.ts';
import { findParent } from '../../registry/parents.ts';
import { getRunRecord } from '../../registry/runs.ts';
import { findTrained } from '../../registry/trained.ts';
import { startInProcess, type InProcess } from '../support/in-process.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const python = path.join(projectDir, '.venv/bin/python');
const limitMs = 900_000;

let root: string;
let here: InProcess;

function recorded({ store, now }: Deps): Pick<ReleaseActivities, 'requestDeployment'> {
  return {
    async requestDeployment({ request: { model, version, by, reason } }) {
      await moveAlias(store, model, 'champion', { version, by, reason, now: now() });
      const url = 'http://127.0.0.1:1/';
      return { generation: 1, bundle: 'b'.repeat(64), url, convergedMs: 1 };
    },
  };
}

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-embeddings-'));
  here = await startInProcess(root, recorded);
}, 120_000);
afterAll(async () => {
  await here?.stop();
  rmSync(root, { recursive: true, force: true });
});

const loads = `
import sys
from transformers import AutoModel, AutoModelForMaskedLM
for kind in (AutoModelForMaskedLM, AutoModel):
    print(type(kind.from_pretrained(sys.argv[1])).__name__)
print(sum(p.numel() for p in AutoModelForMaskedLM.from_pretrained(sys.argv[1]).parameters()))
`;

async function fetchFiles(files: Record<string, { sha256: string; bytes: number }>, name: string) {
  const folder = path.join(root, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, ref] of Object.entries(files)) {
    await downloadBlob(here.store, ref, path.join(folder, file));
  }
  return folder;
}

test(
  'a model is pretrained on hidden words, scored through the server and registered as one bundle',
  async () => {
    const file = path.join(projectDir, 'config/pipelines/embeddings.yaml');
    const { pipeline } = await readPipelineFile(file);
    const [source] = pipeline.data.sources!;
    const quick: Pipeline = {
      ...pipeline,
      data: {
        ...pipeline.data,
        sources: [{ ...source!, include: 'data/200[0-5]*.json' }],
        heldOut: 0.2,
      },
      budget: { time: 10_000 },
      evaluate: {
        ...pipeline.evaluate,
        gates: { 'masked.accuracy': { min: 0 }, 'masked.loss': { max: 9 } },
      },
    };
    const { temper, store } = here;
    const { run } = await temper.startPipeline({
      pipeline: { pipeline: quick, baseDir: root },
      machine: { ...describeMachine(), cores: 1 },
    });
    const { model, evaluations } = await temper.resultOf(run);
    const { metrics, latency } = evaluations[0]!.evaluation;
    expect(Object.keys(metrics).toSorted()).toEqual([
      'masked.accuracy',
      'masked.loss',
      'retrieval.accuracy',
    ]);
    expect(latency.probeDifference).toBeLessThan(1e-4);
    expect(latency.tokensPerSecond).toBeGreaterThan(0);

    const recipe = (await getRunRecord(store, run, 'plan', recipeSchema))!;
    const { version } = await temper.models.show(`${model.name}@${model.version}`);
    expect(version.lineage.phases.map(({ phase }) => phase)).toEqual(['pretrain']);
    const trained = await findTrained(store, version.lineage.phases[0]!);
    // What is measured of the exported encoder is what the trainer measured last.
    expect(metrics['masked.loss']!.value).toBeLessThan(Math.log(recipe.model.vocabSize));
    const folder = await fetchFiles(trained!.manifest.files, 'model');
    const { stdout } = await execa(python, ['-c', loads, folder]);
    expect(stdout.split('\n')).toEqual([
      'ModernBertForMaskedLM',
      'ModernBertModel',
      String(recipe.numParameters),
    ]);
    const bundle = await fetchFiles(version.bundle.manifest.files, 'bundle');
    const serving = embeddingConfigSchema.parse(
      JSON.parse(readFileSync(path.join(bundle, 'serving.json'), 'utf8')),
    );
    expect(serving).toMatchObject({ dimensions: recipe.model.hiddenSize, contextLength: 512 });
    await expect(findParent(store, `${model.name}@champion`)).rejects.toThrow(
      'finder@1 is a ModernBERT, which embeds text and is not gone on from. Name another version, or start from scratch.',
    );
  },
  limitMs,
);
