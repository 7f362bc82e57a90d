/** `temper run`: starts a pipeline and shows it; the run needs no one to watch it. */
import type { TemperClient } from '../client.ts';
import { readPipelineFile } from '../pipeline-file.ts';
import { inFile } from '../placed.ts';
import { datasetFor, parentFor, requireTokenizer } from '../plan.ts';
import { requireRoomForBase } from '../planned-base.ts';
import { homeFolder } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { clientOf, ensureUp, openContext, requireStore, stdoutPaint } from './context.ts';
import { requireConversations } from './given-conversations.ts';
import { adoptTokenizer } from './given-tokenizer.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { adapts, endLines, evaluationTable } from './result.ts';
import { sayInterrupted, watchRun } from './watch.ts';

export interface RunOptions extends CommonOptions {
  detach?: boolean;
  name?: string;
  /** Instead of the file's: another seed makes another version. */
  seed?: number;
}

export async function runCommand(file: string, options: RunOptions): Promise<number> {
  const read = await readPipelineFile(file);
  const { pipeline: written, baseDir } = read;
  const pipeline = options.seed === undefined ? written : { ...written, seed: options.seed };
  const context = await openContext();
  if (context.stack !== null) await ensureUp(homeFolder(process.env), options);
  else await requireStore(context);
  const current = await openContext();
  // What the file cannot show is said before anything starts, too.
  const machine = describeMachine();
  await inFile(read, async () => {
    await datasetFor({ pipeline, store: current.store });
    await parentFor({ pipeline, store: current.store });
    await requireRoomForBase({ pipeline, baseDir, machine });
    await requireTokenizer({ pipeline, baseDir, adopt: adoptTokenizer });
    await requireConversations(pipeline, baseDir);
  });
  const client = await clientOf(current);
  const { run, workflowId } = await client.startPipeline({
    pipeline: { pipeline, baseDir },
    machine,
    run: options.name,
  });
  return await watchStarted(client, { run, workflowId }, options);
}

/** Shows a run that was just started, or says how to watch it. */
export async function watchStarted(
  client: TemperClient,
  { run, workflowId }: { run: string; workflowId: string },
  options: CommonOptions & { detach?: boolean },
): Promise<number> {
  if (options.detach === true) {
    if (options.json === true) printJson({ run, workflowId, state: 'running', watching: false });
    say(options, `run ${run} has started.`);
    say(options, `  watch it:  npx temper status ${run} --watch`);
    say(options, `  cancel it: npx temper cancel ${run}`);
    return ExitCode.ok;
  }
  say(options, `run ${run}   (Ctrl-C leaves it running; npx temper status ${run} --watch)`);
  const { status, interrupted } = await watchRun(client, run, options);
  if (interrupted || status === null) return sayInterrupted(run, options);
  if (options.json === true) printJson(status);
  for (const line of endLines(status, stdoutPaint())) say(options, line);
  for (const line of evaluationTable(status.result?.evaluations ?? [], { adapted: adapts(status) }))
    say(options, `  ${line}`);
  return status.state === 'finished' ? ExitCode.ok : ExitCode.failed;
}
