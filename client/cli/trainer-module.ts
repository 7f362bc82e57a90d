/** Runs a module of the trainer that only answers, `python -m trainer.<name>`, and waits for its last line. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { homeFolder, layoutOf, projectDir, python } from '../../infra/layout.ts';
import { inspectProcess } from '../../infra/processes.ts';

const toldSchema = z.object({ ok: z.boolean(), message: z.string().optional() });

/** Its answer, or why there is none; `configIn` may put files beside the configuration. */
export async function askTrainer<Answer>(
  name: string,
  answerSchema: z.ZodType<Answer>,
  configIn: (folder: string) => Promise<object>,
): Promise<{ answer: Answer } | { why: string }> {
  const folder = await workFolder();
  try {
    const file = path.join(folder, 'config.json');
    await writeFile(file, JSON.stringify(await configIn(folder)));
    const ended = await execa(python, ['-m', `trainer.${name}`, '--config', file], {
      cwd: projectDir,
      stdin: 'ignore',
      reject: false,
      // ONNX Runtime, by which an export is tried, would report to its makers.
      env: {
        TEMPER_PARENT_PID: String(process.pid),
        ORT_DISABLE_TELEMETRY: '1',
        TMPDIR: folder,
      },
    });
    const line = parseJson(lastLine(ended.stdout));
    const told = toldSchema.safeParse(line).data;
    const answer = answerSchema.safeParse(line);
    if (told?.ok === true && answer.success) return { answer: answer.data };
    return {
      why: told?.message ?? (lastLine(ended.stderr) || `it ended with ${ended.exitCode}`),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Named as those of a worker: what Ctrl-C leaves of this one goes when the next worker starts. */
async function workFolder(): Promise<string> {
  const parent = path.join(layoutOf(homeFolder(process.env)).home, 'tmp');
  await mkdir(parent, { recursive: true });
  const { startTime } = inspectProcess(process.pid) ?? { startTime: 0 };
  return await mkdtemp(path.join(parent, `work-${process.pid}-${startTime}-`));
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
