/** `temper quickstart`: from a fresh clone to an answer of a model that this machine trained. */
import path from 'node:path';
import { homeFolder, projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import type { PipelineResult } from '../../workflows/messages.ts';
import { readPipelineFile } from '../pipeline-file.ts';
import { askModel, type Answer } from './chat.ts';
import { clientOf, ensureUp, openContext, requireLocal, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { endLines, evaluationTable, stageTimes } from './result.ts';
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

  const asked = await askDeployed(result, { url: api, apiKeyFile: stack.layout.apiKeyFile });
  const times = stageTimes(status);
  if (options.json === true) {
    printJson({ state: status.state, ...result, asked, times, ui, api: `${api}/v1` });
  }
  if (asked !== null) {
    say(options);
    say(options, `  ${paint('bold', 'Q')} ${plain(asked.question)}`);
    const expected = asked.expected === null ? '' : `   (expected: ${plain(asked.expected)})`;
    say(options, `  ${paint('bold', 'A')} ${plain(asked.answer.text)}${paint('dim', expected)}`);
  }
  say(options);
  for (const line of evaluationTable(result.evaluations)) say(options, `  ${line}`);
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
    say(options);
    for (const line of curlLines(api, stack.layout.apiKeyFile, result.endpoint)) say(options, line);
  }
  say(options);
  for (const line of nextLines(run, result)) say(options, line);
  return ExitCode.ok;
}

interface Asked {
  question: string;
  expected: string | null;
  answer: Answer;
}

/** Asks what the evaluation also asked: a phrasing that the model was not trained on. */
async function askDeployed(
  result: PipelineResult,
  api: { url: string; apiKeyFile: string },
): Promise<Asked | null> {
  const sample = result.evaluations.at(-1)?.evaluation.samples[0];
  if (result.endpoint === null || sample === undefined) return null;
  const answer = await askModel(api, result.endpoint, sample.question);
  return { question: sample.question, expected: sample.expected, answer };
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

function nextLines(run: string, { model, endpoint }: PipelineResult): string[] {
  const lines: [string, string][] = [
    [`npx temper status ${run}`, 'the run again'],
    ['npx temper models list', 'every model and version'],
    [`npx temper models show ${model.name}`, 'where this one comes from'],
    ...(endpoint === null
      ? []
      : ([
          [`npx temper chat ${endpoint} "…"`, 'ask it something'],
          [`npx temper models rollback ${model.name}`, 'serve the version before'],
        ] satisfies [string, string][])),
    ['npx temper down', 'stop everything; npx temper up starts it with everything still there'],
  ];
  return lines.map(([command, what]) => `  ${command.padEnd(38)}  ${what}`);
}
