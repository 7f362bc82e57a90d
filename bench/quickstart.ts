/** The main job, measured: how long, how well, what a second run costs, how large its histories are, and what durability costs. */
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { readPipelineFile } from '../client/pipeline-file.ts';
import { trainerEventSchema } from '../config/trainer.ts';
import { projectDir, python } from '../infra/layout.ts';
import { readEvents } from '../registry/training.ts';
import { workflowId } from '../workflows/messages.ts';
import { account, type Account, type TrainingRecord } from './support/accounting.ts';
import { defineBench, say } from './support/bench.ts';
import { median, type Bound } from './support/figures.ts';
import { readHistory, type HistoryRecord } from './support/histories.ts';
import { finishPipeline, withHome, withStack, type BenchStack } from './support/stack.ts';

const phases = ['pretrain', 'sft', 'dpo'] as const;
const maxRounds = 6;

export const quickstart = defineBench({
  name: 'quickstart',
  summary: 'a whole run in an empty stack, then the same again: time, quality, histories, overhead',
  settings: z.strictObject({
    pipeline: z
      .string()
      .default('config/pipelines/quickstart.yaml')
      .describe('pipeline file to run'),
    keep: z.boolean().default(false).describe('leave the home folder with its model'),
  }),
  async measure({ pipeline: file, keep }) {
    const { pipeline, baseDir } = await readPipelineFile(file);
    return await withHome('quickstart', { keep }, (home) =>
      withStack(home, async (stack) => {
        say('first run, nothing to reuse');
        const first = await finishPipeline(stack, { run: 'bench-1', pipeline, baseDir });
        say('second run, nothing changed');
        const again = await finishPipeline(stack, { run: 'bench-2', pipeline, baseDir });

        const endpoint = pipeline.deploy?.endpoint ?? null;
        const found = await readRun(stack, 'bench-1', endpoint);
        const run = { from: first.startedAt, to: first.endedAt };
        const activities = found.histories.flatMap((history) => history.activities);
        const time = account(run, activities, found.trainings);
        const loading = await measureLoading();
        const moduleLoadingMs = activities.reduce(
          (sum, { name, from, to }) => sum + Math.min(loading[name] ?? 0, to - from),
          0,
        );
        tellAccount(time, moduleLoadingMs);

        const totalS = (first.endedAt - first.startedAt) / 1000;
        const againS = (again.endedAt - again.startedAt) / 1000;
        // The plan is a pure function that is computed again, not a stored result.
        const remade = again.stages
          .filter(({ name, state }) => name !== 'plan' && state !== 'reused' && state !== 'skipped')
          .map(({ name }) => name);
        const metrics = Object.fromEntries(
          first.result.evaluations.map(({ stage, evaluation }) => [
            stage,
            Object.fromEntries(
              Object.entries(evaluation.metrics).map(([name, { value }]) => [name, value]),
            ),
          ]),
        );
        const largest = (read: (history: HistoryRecord) => number) =>
          Math.max(...found.histories.map(read));
        for (const { workflowId: id, events, bytes, largestPayload } of found.histories) {
          say(`  ${id}: ${events} events, ${bytes} bytes, largest payload ${largestPayload}`);
        }
        const assistant = pipeline.goal === 'assistant';
        return {
          figures: {
            totalS,
            stages: Object.fromEntries(
              first.stages
                .filter(({ startedAt, endedAt }) => startedAt !== null && endedAt !== null)
                .map(({ name, startedAt, endedAt }) => [name, (endedAt! - startedAt!) / 1000]),
            ),
            rounds: (first.recipe?.round ?? 0) + 1,
            metrics,
            digests: first.result.digests,
            notes: first.notes.map(({ text }) => text),
            again: { totalS: againS, remade, sameBundle: sameBundle(first, again) },
            time: { ...time, moduleLoadingMs, moduleLoading: loading },
            histories: found.histories.map(({ workflowId: id, events, bytes, largestPayload }) => ({
              workflowId: id,
              events,
              bytes,
              largestPayload,
            })),
          },
          bounds: [
            { name: 'run, seconds', value: totalS, max: 360 },
            ...qualityBounds(metrics, assistant),
            { name: 'same run again, seconds', value: againS, max: 20 },
            { name: 'stages made again', value: remade.length, max: 0 },
            { name: 'overhead, share of the run', value: time.overheadShare, max: 0.05 },
            { name: 'events of an execution', value: largest(({ events }) => events), max: 5000 },
            { name: 'bytes of a history', value: largest(({ bytes }) => bytes), max: 5_000_000 },
            {
              name: 'bytes of a payload',
              value: largest(({ largestPayload }) => largestPayload),
              max: 64 * 1024,
            },
          ],
        };
      }),
    );
  },
});

type Metrics = Record<string, Record<string, number>>;

function qualityBounds(metrics: Metrics, assistant: boolean): Bound[] {
  const of = (stage: string, name: string) => metrics[stage]?.[name] ?? null;
  const bounds: Bound[] = [
    { name: 'bits per byte, held out', value: of('evaluate-base', 'valBpb'), max: 1.6 },
  ];
  if (!assistant) return bounds;
  const tuned = of('evaluate-tuned', 'questions.accuracy');
  say(`  questions answered by the base model: ${of('evaluate-base', 'questions.accuracy')}`);
  return [
    ...bounds,
    { name: 'questions.accuracy after SFT', value: tuned, min: 0.85 },
    {
      name: 'questions.accuracy after DPO, not lower',
      value: of('evaluate', 'questions.accuracy'),
      min: tuned ?? 1,
    },
    {
      name: 'preferences.accuracy after DPO',
      value: of('evaluate', 'preferences.accuracy'),
      min: 0.9,
    },
  ];
}

function sameBundle(...statuses: { result: { digests: { bundle: string } } }[]): boolean {
  return new Set(statuses.map(({ result }) => result.digests.bundle)).size === 1;
}

/** Every history of a run, and what its trainers said. */
async function readRun(
  { temporal, store }: BenchStack,
  run: string,
  endpoint: string | null,
): Promise<{ histories: HistoryRecord[]; trainings: TrainingRecord[] }> {
  const ids = [
    workflowId.pipeline(run),
    workflowId.preprocess(run),
    ...(endpoint === null ? [] : [workflowId.deployment(endpoint)]),
  ];
  const histories = await Promise.all(ids.map((id) => readHistory(temporal, id)));
  const trainings: TrainingRecord[] = [];
  for (const phase of phases) {
    for (let round = 0; round < maxRounds; round += 1) {
      const history = await readHistory(temporal, workflowId.training(run, phase, round));
      if (history === null) continue;
      const events = await readEvents(store, { run, phase, round, trial: 0 });
      histories.push(history);
      trainings.push({
        activities: history.activities,
        events: z.array(trainerEventSchema).parse(events),
      });
    }
  }
  return { histories: histories.filter((history) => history !== null), trainings };
}

/** What each short-lived module imports before it works. */
const imports: Record<string, string> = {
  trainTokenizer: 'import trainer.tokenizer',
  exportOnnx:
    'import trainer.export, onnx, torch; from transformers import LlamaForCausalLM; from onnxruntime_genai.models.builder import create_model',
  evaluateModel:
    'import trainer.evaluate; from lm_eval.evaluator import evaluate; from lm_eval.models.openai_completions import LocalCompletionsAPI',
};

/** Milliseconds to start an interpreter with the libraries of an activity's module; no history tells it. */
async function measureLoading(): Promise<Record<string, number>> {
  const loading: Record<string, number> = {};
  for (const [activity, code] of Object.entries(imports)) {
    const times: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const { durationMs } = await execa(python, ['-c', code], {
        cwd: path.resolve(projectDir),
        env: { HF_HUB_OFFLINE: '1' },
      });
      times.push(durationMs);
    }
    loading[activity] = median(times);
  }
  return loading;
}

function tellAccount(time: Account, moduleLoadingMs: number): void {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const percent = (ms: number) => `${((ms / time.totalMs) * 100).toFixed(1)} %`;
  say(`time of the run: ${seconds(time.totalMs)}`);
  say(`  stage work             ${seconds(time.workMs)}  ${percent(time.workMs)}`);
  say(
    `    of it about ${seconds(moduleLoadingMs)} of starting Python for tokenizer, export and evaluation`,
  );
  say(`  starting trainers      ${seconds(time.startingMs)}  ${percent(time.startingMs)}`);
  say(`  everything else        ${seconds(time.overheadMs)}  ${percent(time.overheadMs)}`);
  for (const { what, ms } of time.overhead) say(`    ${what.padEnd(22)} ${seconds(ms)}`);
}
