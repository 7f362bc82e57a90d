/** How a model came to be, stage by stage with digests, and the commands that make it again. */
import type { CorpusManifest, ModelVersion } from '../../config/manifests.ts';
import { phaseNames, type Phase } from '../../config/recipe.ts';
import { stageDigest } from '../../registry/stages.ts';
import { stageNames, type StageName } from '../../workflows/messages.ts';
import { evaluationAfter, type Trace } from './trace.ts';
import type { StageReport } from './run-report.ts';

export interface LineageRequest {
  run: string;
  trace: Trace;
  manifest: CorpusManifest | null;
  version: ModelVersion | null;
  code: { commit: string; changed: boolean } | null;
}

type Digests = StageReport['inputs'];

const phasesOfStage: Partial<Record<StageName, readonly Phase[]>> = {
  pretrain: ['pretrain'],
  'fine-tune': ['sft'],
  align: ['dpo', 'orpo'],
};

/** Which phase a stage trained, or will train. */
function phaseOf(name: StageName, { recipes, models }: Trace): Phase | null {
  const [first = null, ...others] = phasesOfStage[name] ?? [];
  const planned = recipes.at(-1);
  const other = others.find((phase) =>
    planned ? planned[phase] != null : models.some((model) => model.phase === phase),
  );
  return other ?? first;
}

/** The phase that was trained before one, in this run. */
function before(phase: Phase, { models }: Trace): string | null {
  const earlier = phaseNames.slice(0, phaseNames.indexOf(phase));
  return earlier.findLast((one) => models.some((model) => model.phase === one)) ?? null;
}

export function lineageOf(request: LineageRequest): {
  stages: StageReport[];
  commands: string[];
  compare: Digests;
} {
  return {
    stages: stageNames.map((name) => stageReport(name, request)),
    commands: commandsOf(request),
    compare: compareOf(request),
  };
}

function stageReport(name: StageName, request: LineageRequest): StageReport {
  const { trace } = request;
  const line = trace.stages.find((stage) => stage.name === name);
  const { inputs, outputs } = digestsOf(name, request);
  const phase = phaseOf(name, trace);
  const recipe = trace.recipes.at(-1);
  const seeded = recipe && phase ? (recipe[phase]?.seed ?? null) : null;
  const splits = name === 'preprocess' || name === 'plan';
  return {
    name,
    state: line?.state ?? (outputs.length > 0 ? 'done' : 'waiting'),
    startedAt: isoOf(line?.startedAt),
    endedAt: isoOf(line?.endedAt),
    summary: line?.summary ?? '',
    seed: splits ? (trace.pipeline?.seed ?? null) : seeded,
    inputs,
    outputs,
  };
}

function digestsOf(
  name: StageName,
  { trace, manifest, version }: LineageRequest,
): { inputs: Digests; outputs: Digests } {
  const inputs: (readonly [string, string | null | undefined])[] = [];
  const outputs: (readonly [string, string | null | undefined])[] = [];
  const recipe = trace.recipes.at(-1);
  const recipeDigest = recipe && stageDigest(recipe);
  const exportOf = (phase: string) => trace.exports.findLast((one) => one.phase === phase);
  switch (name) {
    case 'ingest':
      outputs.push(['dataset', trace.dataset?.digest]);
      break;
    case 'preprocess':
      inputs.push(['dataset', trace.dataset?.digest], ['job, code included', trace.corpus]);
      outputs.push(
        ['corpus', manifest && stageDigest(manifest)],
        ['tokenizer', manifest?.tokenizer.sha256],
      );
      break;
    case 'plan':
      if (recipe) inputs.push(['corpus', manifest && stageDigest(manifest)]);
      outputs.push(['recipe', recipeDigest]);
      break;
    case 'pretrain':
    case 'fine-tune':
    case 'align': {
      const phase = phaseOf(name, trace)!;
      const weightsOf = (wanted: string | null) =>
        trace.models.findLast((one) => one.phase === wanted)?.weights;
      const model = trace.models.findLast((one) => one.phase === phase);
      const registered = version?.lineage.phases.find((one) => one.phase === phase);
      if (model ?? registered) {
        inputs.push(
          ['recipe', recipeDigest],
          ['weights before', weightsOf(before(phase, trace))],
          [parentWords(trace), phase === 'pretrain' ? trace.parent?.pretrain : null],
          ...(phase === 'pretrain' ? baseDigests(trace) : []),
          ['job, code included', model?.stage],
        );
      }
      const exported = exportOf(phase);
      outputs.push(
        ['weights', model?.weights ?? registered?.weights],
        ['ONNX', exported?.onnx],
        ['bundle', exported?.bundle],
      );
      break;
    }
    case 'evaluate-base':
    case 'evaluate-tuned':
    case 'evaluate': {
      const found = trace.evaluations.find(({ stage }) => stage === name);
      if (found) {
        const phase = phaseNames.findLast(
          (one) => evaluationAfter[one] === name && exportOf(one) !== undefined,
        );
        const { evaluation } = found;
        inputs.push(['bundle', evaluation.bundle ?? (phase && exportOf(phase)?.bundle)]);
        outputs.push(['evaluation', stageDigest(evaluation)]);
      }
      break;
    }
    case 'deploy':
      if (trace.model)
        inputs.push(['bundle', version?.bundle.digest ?? trace.exports.at(-1)?.bundle]);
      if (version) outputs.push([`${version.name}@${version.version}`, version.bundle.digest]);
  }
  return { inputs: present(inputs), outputs: present(outputs) };
}

function compareOf({ trace, manifest, version }: LineageRequest): Digests {
  const phases = version?.lineage.phases ?? trace.models;
  const exported = trace.exports.at(-1);
  const recipe = trace.recipes.at(-1);
  return present([
    ...baseDigests({ ...trace, rehearsal: null }).slice(1),
    ['dataset', trace.dataset?.digest],
    ['tokenizer', manifest?.tokenizer.sha256],
    ['recipe', recipe && stageDigest(recipe)],
    ...phases.map(({ phase, weights }) => [`weights of ${phase}`, weights] as const),
    ['ONNX', version?.bundle.manifest.files['model.onnx']?.sha256 ?? exported?.onnx],
    ['bundle', version?.bundle.digest ?? exported?.bundle],
  ]);
}

function baseDigests({ base, rehearsal }: Trace): [string, string | null][] {
  if (base === null) return [];
  return [
    [`import of ${base.title}`, base.stage],
    [`weights of ${base.title}`, base.weights],
    ['text that it wrote and rehearses', rehearsal],
  ];
}

/** E.g. `pretraining of policy@3`. */
function parentWords({ parent }: Trace): string {
  return `pretraining of ${parent?.name}@${parent?.version}`;
}

/** Commands that a reader can type, from an empty folder to the same digests. */
function commandsOf({ run, trace, code }: LineageRequest): string[] {
  const again = `${run.slice(0, 54)}-again`;
  const { dataset, model, parent, base } = trace;
  const reference = model === null ? null : `${model.name}@${model.version}`;
  return [
    ...(code === null ? [] : [`git checkout ${code.commit}`]),
    'bash bin/setup',
    'npx temper doctor',
    'npx temper up',
    ...(parent === null ? [] : [`npx temper models show ${parent.name}@${parent.version}`]),
    'npx temper plan pipeline.yaml',
    `npx temper run pipeline.yaml --name ${again}${base === null ? '' : `   # imports ${base.title} first`}`,
    ...(dataset === null ? [] : [`npx temper datasets show ${dataset.name}@${dataset.version}`]),
    ...(reference === null ? [] : [`npx temper models show ${reference}`]),
    `npx temper report ${again} --json`,
  ];
}

function present(pairs: readonly (readonly [string, string | null | undefined])[]): Digests {
  return pairs.flatMap(([what, digest]) => (digest == null ? [] : [{ what, digest }]));
}

function isoOf(at: number | null | undefined): string | null {
  return at == null ? null : new Date(at).toISOString();
}
