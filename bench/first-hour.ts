/** The first hour of a newcomer, with the commands that they type: 200 mixed files, `init`, `run`, `chat`, from an empty home. */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir } from '../infra/layout.ts';
import { defineBench, say } from './support/bench.ts';
import { makeMixedFolder, missingFiles, neededFiles } from './support/mixed-folder.ts';
import { withHome } from './support/stack.ts';

const initSchema = z.object({
  name: z.string(),
  survey: z.object({ numFiles: z.number(), numDocuments: z.number() }),
  suggestion: z.object({
    key: z.string(),
    questions: z
      .array(z.object({ askHeldOut: z.array(z.string()).min(1), answer: z.string() }))
      .min(1),
  }),
});
/** Of what `temper run --json` prints: a stage, and when it ran. */
export const timedStageSchema = z.object({
  name: z.string(),
  startedAt: z.number().nullable(),
  endedAt: z.number().nullable(),
});
const runSchema = z.object({
  state: z.literal('finished'),
  stages: z.array(timedStageSchema.extend({ summary: z.string().nullable() })),
});
const chatSchema = z.object({ answer: z.string() });

export const firstHour = defineBench({
  name: 'first-hour',
  summary: '200 mixed files to a chat: init, run and chat in an empty home, the stack started too',
  settings: z.strictObject({
    data: z
      .string()
      .optional()
      .describe(`folder of public texts with ${neededFiles.join(', ')}`),
    keep: z.boolean().default(false).describe('leave the home folder with its model'),
  }),
  async measure({ data, keep }) {
    const source = givenFolder(data);
    return await withHome('first-hour', { keep }, async (home) => {
      const place = path.join(home, 'newcomer');
      mkdirSync(place, { recursive: true });
      const made = await makeMixedFolder(path.join(place, 'docs'), source);
      say(`${made.numFiles} files, ${(made.bytes / 1e6).toFixed(1)} MB`);

      const began = performance.now();
      const temper = commandLine(place, home);
      const init = await temper('init', './docs', '--name', 'first-hour', '--goal', 'assistant');
      const looked = initSchema.parse(init.value);
      say(`init ${init.seconds.toFixed(2)} s: ${looked.survey.numDocuments} documents`);
      const plan = await temper('plan');
      say(`plan ${plan.seconds.toFixed(2)} s`);
      const run = await temper('run');
      const stages = runSchema.parse(run.value).stages.flatMap(timeOf);
      for (const { name, seconds, summary } of stages)
        say(`  ${name.padEnd(15)} ${seconds.toFixed(1).padStart(6)} s  ${summary}`);
      const asked = questionOf(looked, path.join(place, 'docs/records/001.jsonl'));
      const chat = await temper('chat', looked.name, asked.question);
      const { answer } = chatSchema.parse(chat.value);
      const totalS = (performance.now() - began) / 1000;
      say(`Q ${asked.question}`);
      say(`A ${answer}   (expected: ${asked.expected})`);
      return {
        figures: {
          made,
          totalS,
          initS: init.seconds,
          planS: plan.seconds,
          runS: run.seconds,
          chatS: chat.seconds,
          stages: Object.fromEntries(stages.map(({ name, seconds }) => [name, seconds])),
          asked: { ...asked, answer },
        },
        bounds: [
          { name: 'files that init counted', value: looked.survey.numFiles, min: 200, max: 200 },
          { name: 'init, seconds', value: init.seconds, max: 1 },
          { name: 'from init to an answer, seconds', value: totalS, max: 480 },
          { name: 'characters of the answer', value: answer.trim().length, min: 1 },
        ],
      };
    });
  },
});

/** The folder of texts, or what is missing of it, before anything is started. */
export function givenFolder(data: string | undefined): string {
  const needed = `a folder with ${neededFiles.join(', ')}`;
  if (data === undefined || data === '')
    throw new Error(`--data: found nothing, expected ${needed}. Nothing was started.`);
  const folder = path.resolve(data);
  const missing = missingFiles(folder);
  if (missing.length === 0) return folder;
  throw new Error(
    `--data: found no ${missing.join(', ')} in ${folder}, expected ${needed}. Nothing was started.`,
  );
}

/** `bin/temper … --json` in the newcomer's folder; throws with what it said where it fails. */
export function commandLine(cwd: string, home: string) {
  return async (...args: string[]): Promise<{ value: unknown; seconds: number }> => {
    const { stdout, stderr, failed, durationMs } = await execa(
      path.join(projectDir, 'bin/temper'),
      [...args, '--json'],
      { cwd, stdin: 'ignore', reject: false, env: { TEMPER_HOME: home, TEMPORAL_ADDRESS: '' } },
    );
    if (failed) throw new Error(`temper ${args[0]}: ${stderr.trim() || stdout}`);
    const value: unknown = JSON.parse(stdout.trim().split('\n').at(-1)!);
    return { value, seconds: durationMs / 1000 };
  };
}

/** A question about the first record, in a phrasing that is not trained on, and its answer. */
export function questionOf(
  { suggestion }: z.infer<typeof initSchema>,
  file: string,
): { question: string; expected: string } {
  const line = readFileSync(file, 'utf8').split('\n')[0]!;
  const record = z.record(z.string(), z.unknown()).parse(JSON.parse(line));
  const fill = (template: string) =>
    template.replaceAll(/\{([^{}]+)\}/g, (_, field: string) => String(record[field]));
  const { askHeldOut, answer } = suggestion.questions[0]!;
  return { question: fill(askHeldOut[0]!), expected: fill(answer) };
}

function timeOf(stage: z.infer<typeof runSchema>['stages'][number]) {
  const { name, startedAt, endedAt, summary } = stage;
  if (startedAt === null || endedAt === null) return [];
  return [{ name, seconds: (endedAt - startedAt) / 1000, summary: summary ?? '' }];
}
