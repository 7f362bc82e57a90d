/** `temper models list|show|diff|promote|rollback|pull`. */
import os from 'node:os';
import { diffModels } from '../model-diff.ts';
import { pullModel } from '../model-pull.ts';
import { showModel, type Promotion } from '../models.ts';
import { adaptedWords, baseWords, size } from '../report/words.ts';
import { clientOf, openContext, stdoutPaint } from './context.ts';
import { diffLines } from './diff-table.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { evaluationTable } from './result.ts';
import { plain, shortDigest, table } from './text.ts';
import type { StageName } from '../../workflows/messages.ts';

export async function listCommand(options: CommonOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const models = await client.models.list();
  if (options.json === true) printJson({ models });
  if (models.length === 0) say(options, 'No models yet: npx temper run pipeline.yaml');
  const rows = models.map((model) => [
    model.name,
    model.versions.join(', '),
    model.champion === null ? '–' : String(model.champion),
    model.endpoints.join(', ') || '–',
  ]);
  if (rows.length > 0) {
    const header = ['model', 'versions', 'champion', 'served at'];
    for (const line of table(header, rows)) say(options, line);
  }
  return ExitCode.ok;
}

export async function showCommand(reference: string, options: CommonOptions): Promise<number> {
  const { store } = await openContext();
  const { version, champion, deployments, adapted } = await showModel(store, reference);
  if (options.json === true) printJson({ version, champion, deployments, adapted });
  const { lineage, bundle } = version;
  const paint = stdoutPaint();
  const role = champion === version.version ? ', champion' : '';
  say(options, paint('bold', `${version.name}@${version.version}`) + role);
  const facts = [
    ['made', version.createdAt],
    ['by run', lineage.run],
    [
      'from',
      `dataset ${lineage.dataset.name} version ${lineage.dataset.version}, ${shortDigest(lineage.dataset.digest)}`,
    ],
    ...(lineage.parent === undefined
      ? []
      : [['goes on from', `${lineage.parent.name}@${lineage.parent.version}`]]),
    ...(lineage.anchor === undefined
      ? []
      : [['best of its line', `${lineage.anchor.name}@${lineage.anchor.version}`]]),
    ...(lineage.base === undefined
      ? []
      : [['adapts', `${plain(baseWords(lineage.base))}, ${shortDigest(lineage.base.weights)}`]]),
    ...(adapted === null ? [] : [['adapted', adaptedWords(adapted)]]),
    ['corpus', shortDigest(lineage.corpus)],
    ['recipe', shortDigest(lineage.recipe)],
    ...lineage.phases.map(({ phase, weights }) => [phase, `weights ${shortDigest(weights)}`]),
    ['bundle', `sha256:${bundle.digest}`],
    [
      'exact',
      lineage.exact
        ? 'yes: the same inputs give the same bytes'
        : 'no: the number of ranks, or the code of the trainer, changed on the way',
    ],
    ...deployments.map(({ endpoint, version: served, generation }) => [
      'endpoint',
      `${endpoint} serves version ${served} (generation ${generation})`,
    ]),
  ];
  for (const line of table(['', ''], facts).slice(1)) say(options, `  ${line}`);
  const evaluations = Object.entries(version.evaluations).map(([stage, evaluation]) => ({
    stage: stage as StageName,
    evaluation,
  }));
  say(options);
  for (const line of evaluationTable(evaluations, { adapted: adapted !== null }))
    say(options, `  ${line}`);
  for (const sample of evaluations.at(-1)?.evaluation.samples.slice(0, 3) ?? []) {
    say(options);
    say(options, `  Q ${plain(sample.question)}`);
    say(options, `  A ${plain(sample.answer)}   (expected ${plain(sample.expected)})`);
  }
  return ExitCode.ok;
}

export interface RollbackOptions extends CommonOptions {
  to?: number;
  why?: string;
}

export async function rollbackCommand(model: string, options: RollbackOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const by = os.userInfo().username;
  const done = await client.models.rollback(model, {
    to: options.to,
    by,
    reason: options.why ?? `rolled back by ${by}`,
  });
  if (options.json === true) printJson(done);
  for (const line of movedLines(done)) say(options, line);
  return ExitCode.ok;
}

export interface PromoteOptions extends CommonOptions {
  endpoint?: string;
  why?: string;
}

export async function promoteCommand(reference: string, options: PromoteOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const by = os.userInfo().username;
  const done = await client.models.promote(reference, {
    endpoint: options.endpoint,
    by,
    reason: options.why ?? `promoted by ${by}`,
  });
  if (options.json === true) printJson(done);
  for (const line of movedLines(done)) say(options, line);
  return ExitCode.ok;
}

/** Where another version is served now; or that the champion is another one, and that nobody serves it. */
export function movedLines({ model, from, to, deployments }: Promotion): string[] {
  const move = `${from === null ? '' : `${model}@${from} → `}${model}@${to}`;
  if (deployments.length === 0) {
    return [
      `${move}: the champion, and no endpoint serves ${model}.`,
      `  serve it: npx temper models promote ${model}@${to} --endpoint ${model}`,
    ];
  }
  return deployments.map(({ endpoint, convergedMs, generation }) => {
    const seconds = (convergedMs / 1000).toFixed(1);
    return `${move} at ${endpoint} in ${seconds} s (generation ${generation})`;
  });
}

export async function diffCommand(
  first: string,
  second: string,
  options: CommonOptions & { all?: boolean },
): Promise<number> {
  const context = await openContext();
  const a = (await showModel(context.store, first)).version;
  const b = (await showModel(context.store, second)).version;
  const rows = await diffModels(context.store, a, b);
  const names = [`${a.name}@${a.version}`, `${b.name}@${b.version}`] as const;
  if (options.json === true) printJson({ a: names[0], b: names[1], rows });
  for (const line of diffLines(rows, names, options.all === true)) say(options, line);
  return ExitCode.ok;
}

export async function pullCommand(
  reference: string,
  folder: string | undefined,
  options: CommonOptions,
): Promise<number> {
  const { store } = await openContext();
  const { version } = await showModel(store, reference);
  const target = folder ?? `${version.name}-${version.version}`;
  const pulled = await pullModel(store, version, target, ({ name, bytes }) =>
    say(options, `  ${name}  ${size(bytes)}`),
  );
  if (options.json === true)
    printJson({ model: version.name, version: version.version, ...pulled });
  say(
    options,
    `${stdoutPaint()('green', '✓')} ${version.name}@${version.version} lies in ${pulled.folder}`,
  );
  say(options, '  transformers: AutoModelForCausalLM.from_pretrained(folder)');
  say(options, '  onnxruntime:  InferenceSession(folder + "/model.onnx")');
  return ExitCode.ok;
}
