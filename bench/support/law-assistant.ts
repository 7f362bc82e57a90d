/** English law as documents with fields to ask about, and the pipeline file that makes an assistant of it. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { commandLine, timedStageSchema } from '../first-hour.ts';
import { say, type Measured } from './bench.ts';
import { pickLaws } from './corpora.ts';

const pipelineFile = 'law-assistant.yaml';

/** Lays the laws and the pipeline file into a folder; returns the file, and the bytes of the texts. */
export function writeLawAssistant(
  source: string,
  folder: string,
): { file: string; numLaws: number; bytes: number } {
  mkdirSync(folder, { recursive: true });
  const laws = pickLaws(source);
  const lines = laws.map(({ id, title, updated, text }) =>
    JSON.stringify({ code: id, title, updated: dateOf(updated), text: `${title}\n\n${text}` }),
  );
  writeFileSync(path.join(folder, 'laws.jsonl'), `${lines.join('\n')}\n`);
  const file = path.join(folder, pipelineFile);
  copyFileSync(path.join(import.meta.dirname, pipelineFile), file);
  const bytes = laws.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  return { file, numLaws: laws.length, bytes };
}

/** 20210120 as 2021-01-20. */
function dateOf(digits: string): string {
  const [, year, month, day] = /^(\d{4})(\d{2})(\d{2})$/.exec(digits) ?? [];
  if (day === undefined) throw new Error(`updated: found ${digits}, expected a date as 20210120`);
  return `${year}-${month}-${day}`;
}

const stageNames = ['evaluate-base', 'evaluate-tuned', 'evaluate'] as const;
const metric = z.object({ value: z.number(), count: z.number() });
const runSchema = z.object({
  state: z.literal('finished'),
  stages: z.array(timedStageSchema),
  result: z.object({
    evaluations: z.array(
      z.object({
        stage: z.string(),
        evaluation: z.object({ metrics: z.record(z.string(), metric) }),
      }),
    ),
  }),
});

/** What `temper run --json` says of an assistant: what it answers and prefers after each phase, and how long that took. */
export function assistantFigures(value: unknown) {
  const { stages, result } = runSchema.parse(value);
  const measured = stageNames.map((name) => {
    const found = result.evaluations.find(({ stage }) => stage === name);
    const answers = found?.evaluation.metrics['questions.accuracy'];
    const preferences = found?.evaluation.metrics['preferences.accuracy'];
    if (answers === undefined || preferences === undefined)
      throw new Error(`${name}: found no answers and preferences, expected both`);
    return { stage: name, answers, preferences };
  });
  const seconds = stages.flatMap(({ name, startedAt, endedAt }) =>
    startedAt === null || endedAt === null ? [] : [[name, (endedAt - startedAt) / 1000] as const],
  );
  return { measured, seconds: Object.fromEntries(seconds) };
}

/** Makes the assistant with the commands that a person types. */
export async function measureAssistant(source: string, home: string): Promise<Measured> {
  const place = path.join(home, 'newcomer');
  const { file, ...written } = writeLawAssistant(source, place);
  say(`${written.numLaws} laws, ${(written.bytes / 1e3).toFixed(0)} KB`);
  const run = await commandLine(place, home)('run', path.basename(file));
  const figures = assistantFigures(run.value);
  for (const { stage, answers, preferences } of figures.measured) {
    const share = ({ value, count }: typeof answers) => `${(100 * value).toFixed(1)} % of ${count}`;
    say(`  ${stage.padEnd(15)} answers ${share(answers)}, preferences ${share(preferences)}`);
  }
  for (const [name, seconds] of Object.entries(figures.seconds))
    say(`  ${name.padEnd(15)} ${seconds.toFixed(1).padStart(6)} s`);
  say(`run ${run.seconds.toFixed(1)} s`);
  const [before, tuned] = figures.measured.map(({ answers }) => answers.value);
  return {
    figures: { ...written, ...figures, totalS: run.seconds },
    bounds: [{ name: 'share of answers gained by tuning', value: tuned! - before!, min: 0.1 }],
  };
}
