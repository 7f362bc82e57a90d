/** `temper quickstart`: from a fresh clone to an answer of a model that this machine trained. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { homeFolder, projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { evaluationSchema } from '../../config/manifests.ts';
import { readAlias } from '../../registry/models.ts';
import { findStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import type { PipelineResult } from '../../workflows/messages.ts';
import { rootMessage } from '../errors.ts';
import { previousChampion } from '../models.ts';
import { readPipelineFile } from '../pipeline-file.ts';
import { askModel, type Answer } from './chat.ts';
import { clientOf, ensureUp, openContext, requireLocal, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { adapts, endLines, evaluationTable, stageTimes } from './result.ts';
import { clock, plain } from './text.ts';
import { sayInterrupted, watchRun } from './watch.ts';

export interface QuickstartOptions extends CommonOptions {
  pipeline: string;
}

export const quickstartPipeline = path.join(projectDir, 'config/pipelines/quickstart.yaml');

export async function quickstartCommand(options: QuickstartOptions): Promise<number> {
  const { pipeline, baseDir } = await readPipelineFile(options.pipeline);
  requireLocal(await openContext(), 'quickstart');
  await ensureUp(homeFolder(process.env), options);
  const context = await openContext();
  const stack = requireLocal(context, 'quickstart');
  const client = await clientOf(context);
  const { run, workflowId } = await client.startPipeline({
    pipeline: { pipeline, baseDir },
    machine: describeMachine(),
  });
  const ui = `http://127.0.0.1:${stack.ports.temporalUi}/namespaces/default/workflows/${encodeURIComponent(workflowId)}`;
  const api = `http://127.0.0.1:${stack.ports.serving}`;
  say(options, `run ${run}   (Ctrl-C leaves it running; npx temper status ${run} --watch)`);
  say(options, `  ${ui}`);
  const { status, interrupted } = await watchRun(client, run, options);
  if (interrupted || status === null) return sayInterrupted(run, options);
  const paint = stdoutPaint();
  for (const line of endLines(status, paint)) say(options, line);
  const { result } = status;
  if (status.state !== 'finished' || result === null) {
    if (options.json === true) printJson(status);
    say(options, `  look at it: ${ui}`);
    return ExitCode.failed;
  }

  const asked = await askDeployed(result, context.store, {
    url: api,
    apiKeyFile: stack.layout.apiKeyFile,
  });
  const times = stageTimes(status);
  const previous = await previousVersion(context.store, result);
  if (options.json === true) {
    printJson({ state: status.state, ...result, asked, times, ui, api: `${api}/v1` });
  }
  if (asked !== null) {
    say(options);
    const { question, answer, failure } = asked;
    if (question !== null) say(options, `  ${paint('bold', 'Q')} ${plain(question)}`);
    if (answer === null) {
      const again = `npx temper chat ${result.endpoint} ${JSON.stringify(question ?? '…')}`;
      say(options, `  ${paint('red', '✗')} no answer came: ${plain(failure ?? '')}`);
      say(options, `    the model is registered all the same; ask again: ${again}`);
    } else {
      const expected = asked.expected === null ? '' : `   (expected: ${plain(asked.expected)})`;
      say(options, `  ${paint('bold', 'A')} ${plain(answer.text)}${paint('dim', expected)}`);
    }
  }
  say(options);
  for (const line of evaluationTable(result.evaluations, { adapted: adapts(status) }))
    say(options, `  ${line}`);
  say(options);
  for (const line of facts(result)) say(options, `  ${line}`);
  const share = times.totalMs === 0 ? 0 : (times.betweenMs / times.totalMs) * 100;
  say(
    options,
    `  time         ${clock(times.totalMs)}, of it ${clock(times.stagesMs)} in stages and ${clock(times.betweenMs)} (${share.toFixed(1)} %) between them`,
  );
  say(options, `  Temporal     ${ui}`);
  if (result.endpoint !== null) {
    say(options, `  API          ${api}/v1`);
    say(options, `  chat page    ${api}   (asks for the key in ${stack.layout.apiKeyFile})`);
    say(options);
    for (const line of curlLines(api, stack.layout.apiKeyFile, result.endpoint)) say(options, line);
  }
  say(options);
  const pipelineFile = path.relative(process.cwd(), options.pipeline);
  for (const line of nextLines(run, result, previous, pipelineFile)) say(options, line);
  return asked !== null && asked.answer === null ? ExitCode.failed : ExitCode.ok;
}

interface Asked {
  /** null when even the question, which lies in the store, could not be had. */
  question: string | null;
  expected: string | null;
  /** null when none came, and then why. */
  answer: Answer | null;
  failure: string | null;
}

const answerLimitMs = 30_000;

/** Asks what the evaluation also asked: a phrasing that the model was not trained on. */
async function askDeployed(
  result: PipelineResult,
  store: Store,
  api: { url: string; apiKeyFile: string },
): Promise<Asked | null> {
  const last = result.evaluations.at(-1)?.evaluation;
  if (result.endpoint === null || last === undefined) return null;
  const { endpoint } = result;
  const record = await tryFor(answerLimitMs, 1000, () =>
    findStage(store, 'evaluate', last.stage, evaluationSchema),
  );
  if (record.failure !== null) {
    return { question: null, expected: null, answer: null, failure: record.failure };
  }
  const sample = record.value?.samples[0];
  if (sample === undefined) return null;
  const { question, expected } = sample;
  const { value, failure } = await tryFor(answerLimitMs, 1000, (leftMs) =>
    askModel(api, endpoint, question, leftMs),
  );
  return { question, expected, answer: value, failure };
}

/** Asks again until an answer comes: what is asked may be restarting just now, and the run needs it no more. */
export async function tryFor<T>(
  limitMs: number,
  everyMs: number,
  ask: (leftMs: number) => Promise<T>,
): Promise<{ value: T; failure: null } | { value: null; failure: string }> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    try {
      return { value: await ask(Math.max(1000, deadline - Date.now())), failure: null };
    } catch (error) {
      if (Date.now() + everyMs > deadline) return { value: null, failure: rootMessage(error) };
    }
    await sleep(everyMs);
  }
}

/** The version that a rollback would go back to; null when there is none, or nobody can say just now. */
async function previousVersion(store: Store, { model }: PipelineResult): Promise<number | null> {
  const alias = await readAlias(store, model.name, 'champion').catch(() => null);
  return alias === null ? null : previousChampion(alias.moves);
}

function facts({ model, digests }: PipelineResult): string[] {
  return [
    `model        ${model.name}@${model.version}${model.reused ? ' (as before: nothing had changed)' : ''}`,
    `bundle       sha256:${digests.bundle}`,
    `weights      sha256:${digests.weights}`,
    `tokenizer    sha256:${digests.tokenizer}`,
    `ONNX         sha256:${digests.onnx}`,
  ];
}

function curlLines(api: string, apiKeyFile: string, endpoint: string): string[] {
  const body = {
    model: endpoint,
    messages: [{ role: 'user', content: 'Who gave the address of 1865?' }],
  };
  return [
    `  curl ${api}/v1/chat/completions -H "authorization: Bearer $(cat ${apiKeyFile})" \\`,
    `    -H 'content-type: application/json' -d '${JSON.stringify(body)}'`,
  ];
}

/** What one may do next; a rollback is among it only where there is something to go back to. */
export function nextLines(
  run: string,
  { model, endpoint }: Pick<PipelineResult, 'model' | 'endpoint'>,
  previous: number | null,
  pipelineFile: string,
): string[] {
  const lines: [string, string][] = [
    [`npx temper status ${run}`, 'the run again'],
    ['npx temper models list', 'every model and version'],
    [`npx temper models show ${model.name}`, 'where this one comes from'],
    ...(endpoint === null
      ? []
      : ([
          [`npx temper chat ${endpoint} "…"`, 'ask it something'],
          previous === null
            ? [
                `npx temper run ${pipelineFile} --seed 2`,
                'a second version, from which one can roll back',
              ]
            : [`npx temper models rollback ${model.name}`, `serve version ${previous} again`],
        ] satisfies [string, string][])),
    ['npx temper down', 'stop everything; npx temper up starts it with everything still there'],
  ];
  return lines.map(([command, what]) => `  ${command.padEnd(38)}  ${what}`);
}
