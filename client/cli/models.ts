/** `temper models list|show|rollback`. */
import os from 'node:os';
import { clientOf, openContext, stdoutPaint } from './context.ts';
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
  const client = await clientOf(await openContext());
  const { version, champion, deployments } = await client.models.show(reference);
  if (options.json === true) printJson({ version, champion, deployments });
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
    ['corpus', shortDigest(lineage.corpus)],
    ['recipe', shortDigest(lineage.recipe)],
    ...lineage.phases.map(({ phase, weights }) => [phase, `weights ${shortDigest(weights)}`]),
    ['bundle', `sha256:${bundle.digest}`],
    [
      'exact',
      lineage.exact
        ? 'yes: the same inputs give the same bytes'
        : 'no: the number of ranks changed on the way',
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
  for (const line of evaluationTable(evaluations)) say(options, `  ${line}`);
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
  for (const { endpoint, convergedMs, generation } of done.deployments) {
    const seconds = (convergedMs / 1000).toFixed(1);
    say(
      options,
      `${model}@${done.from} → ${model}@${done.to} at ${endpoint} in ${seconds} s (generation ${generation})`,
    );
  }
  return ExitCode.ok;
}
