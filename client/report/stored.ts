/** Traces a run in S3 alone, for when Temporal's history is gone or does not answer. */
import {
  corpusManifestSchema,
  importedModelSchema,
  modelManifestSchema,
} from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { recipeSchema } from '../../config/recipe.ts';
import { runInputsSchema, runSpecSchema } from '../../config/run-records.ts';
import { readBlob } from '../../registry/blobs.ts';
import { chosenTrial } from '../../registry/decisions.ts';
import { getModel, listVersions } from '../../registry/models.ts';
import { readRecord } from '../../registry/json.ts';
import { getRunRecord } from '../../registry/runs.ts';
import { stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { readHead } from '../../registry/training.ts';
import type { ModelManifest } from '../../config/manifests.ts';
import { isBase } from '../../config/start-from.ts';
import type { StageName } from '../../workflows/messages.ts';
import { nothingTraced, phaseOrder, type Trace } from './trace.ts';

/** Everything that S3 knows of a run; null when nothing is stored under its name. */
export async function traceStored(store: Store, run: string): Promise<Trace | null> {
  let first = Infinity;
  let last = 0;
  const trials = new Map<string, { phase: string; round: number }>();
  for await (const { key, lastModified } of store.list(`runs/${run}/`)) {
    const at = lastModified.getTime();
    first = Math.min(first, at);
    last = Math.max(last, at);
    const [, , phase, round, trial] = key.split('/');
    if (/^\d+$/.test(trial ?? ''))
      trials.set(`${phase}/${round}`, { phase: phase!, round: Number(round) });
  }
  if (last === 0) return null;
  const spec = await getRunRecord(store, run, 'spec', runSpecSchema).catch(() => null);
  const recipe = await getRunRecord(store, run, 'plan', recipeSchema).catch(() => null);
  const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema).catch(() => null);
  const pipeline = pipelineSchema.safeParse(spec?.pipeline).data ?? null;
  const trace: Trace = {
    ...nothingTraced(),
    startedAt: first,
    endedAt: last,
    pipeline,
    machine: spec?.machine ?? recipe?.machine ?? null,
    recipes: recipe === null ? [] : [recipe],
    trials: [...trials.values()].toSorted(
      (a, b) => phaseOrder.indexOf(a.phase) - phaseOrder.indexOf(b.phase) || a.round - b.round,
    ),
    missing: [
      'Temporal knows no run of this name, or does not answer: this is what S3 keeps. ' +
        'Notes and the times of the stages are not in it; the end is when S3 was last written.',
    ],
  };
  for (const trial of trace.trials) {
    const manifest = await finishedModel(store, run, trial);
    if (manifest === null) continue;
    const { numSteps, numTokens, finalLoss, learningRates = [], adapted } = manifest;
    const weights = manifest.files['model.safetensors']?.sha256 ?? null;
    const { phase, round } = trial;
    trace.models.push({
      phase,
      round,
      stage: null,
      weights,
      numSteps,
      numTokens,
      finalLoss,
      reused: false,
      learningRates,
      ...(adapted && { adapted }),
    });
  }
  if (pipeline !== null) {
    trace.corpus = inputs?.corpus ?? null;
    trace.dataset = inputs?.ingested?.dataset ?? null;
    await addVersion(store, run, pipeline.name, trace);
    if (isBase(pipeline.startFrom)) await addBase(store, pipeline.startFrom, trace);
    else await addParent(store, inputs?.startFrom ?? pipeline.startFrom, trace);
  }
  return trace;
}

/** The model that a trial ended with; null while it goes on, or when its head cannot be read. */
export async function finishedModel(
  store: Store,
  run: string,
  { phase, round }: { phase: string; round: number },
): Promise<ModelManifest | null> {
  const at = { run, phase, round };
  const head = await readHead(store, { ...at, trial: await chosenTrial(store, at) });
  if (head?.value.finished == null) return null;
  const bytes = await readBlob(store, head.value.finished);
  return modelManifestSchema.parse(JSON.parse(bytes.toString('utf8')));
}

/** The model version that this run made, or that the same recipe had made before. */
async function addVersion(store: Store, run: string, name: string, trace: Trace): Promise<void> {
  const versions = await listVersions(store, name);
  const recipe = trace.recipes[0] === undefined ? null : stageDigest(trace.recipes[0]);
  const own = versions.findLast(({ lineage }) => lineage.run === run);
  // A run that trained nothing itself took everything over; one whose training was cut short did not.
  const untrained = trace.trials.length === 0;
  const version =
    own ?? (untrained ? versions.findLast(({ lineage }) => lineage.recipe === recipe) : undefined);
  if (version !== undefined) {
    const { lineage, bundle } = version;
    if (own !== undefined) trace.state = 'finished';
    else {
      trace.missing.push(
        `This run trained nothing itself: its recipe is that of ${name}@${version.version}, which run ${lineage.run} made. Whether it went on to the end is not stored.`,
      );
    }
    trace.model = { name, version: version.version, reused: own === undefined };
    trace.dataset = lineage.dataset;
    if (lineage.base !== undefined) trace.base = { ...lineage.base, stage: null };
    if (lineage.parent !== undefined) trace.parent = { ...lineage.parent, pretrain: null };
    const onnx = bundle.manifest.files['model.onnx']?.sha256 ?? null;
    const phase = lineage.phases.at(-1)?.phase ?? 'pretrain';
    trace.exports.push({ phase, stage: null, bundle: bundle.digest, onnx });
    trace.evaluations = Object.entries(version.evaluations).map(([stage, evaluation]) => ({
      stage: stage as StageName,
      record: null,
      evaluation,
    }));
  }
  await addCorpus(store, name, version?.lineage.corpus ?? null, trace);
}

/** The version that was gone on from: of a model that is not registered, as far as its file names it. */
async function addParent(store: Store, startFrom: string, trace: Trace): Promise<void> {
  const [, name, version] = /^(.+)@(\d+)$/.exec(startFrom) ?? [];
  if (name !== undefined) trace.parent ??= { name, version: Number(version), pretrain: null };
  if (trace.parent === null) {
    if (startFrom !== 'scratch') {
      trace.missing.push(
        `Which version ${startFrom} was is not stored before the model is registered.`,
      );
    }
    return;
  }
  const parent = await getModel(store, trace.parent.name, trace.parent.version);
  const base = parent?.lineage.phases.find(({ phase }) => phase === 'pretrain');
  trace.parent.pretrain = base?.stage ?? null;
}

/** The record of the import by the weights that the version names: equal weights, the same base. */
async function addBase(store: Store, startFrom: string, trace: Trace): Promise<void> {
  const { base } = trace;
  if (base === null) {
    trace.missing.push(
      `Which weights ${startFrom} had is not stored before the model is registered.`,
    );
    return;
  }
  for await (const { key } of store.list('stages/import/')) {
    const found = (await readRecord(store, key, importedModelSchema).catch(() => null))?.value;
    if (found?.files['model.safetensors']?.sha256 !== base.weights) continue;
    base.stage = key.split('/')[2]!.replace(/\.json$/, '');
    return;
  }
}

/** The corpus by the digest of its manifest; without one, the newest of the dataset's name. */
async function addCorpus(
  store: Store,
  name: string,
  manifestDigest: string | null,
  trace: Trace,
): Promise<void> {
  // As the run itself recorded it, before its training began.
  if (trace.corpus !== null) return;
  const keys: { key: string; at: number }[] = [];
  for await (const { key, lastModified } of store.list('stages/preprocess/')) {
    keys.push({ key, at: lastModified.getTime() });
  }
  for (const { key } of keys.toSorted((a, b) => b.at - a.at)) {
    const manifest = (await readRecord(store, key, corpusManifestSchema).catch(() => null))?.value;
    if (manifest?.dataset.name !== name) continue;
    if (manifestDigest !== null && stageDigest(manifest) !== manifestDigest) continue;
    trace.corpus = key.split('/')[2]!.replace(/\.json$/, '');
    trace.corpusInferred = manifestDigest === null;
    trace.dataset ??= manifest.dataset;
    if (trace.corpusInferred) {
      trace.missing.push(
        `Which corpus this run trained on is not stored before its model is registered: shown is the newest of ${name}.`,
      );
    }
    return;
  }
}
