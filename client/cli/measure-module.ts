/** Measures a configuration of transformers as a run would: runs `python -m trainer.measure` and waits for its last line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { measuredOutcomeSchema } from '../../config/trainer.ts';
import { projectDir, python } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';
import type { Measure } from '../plan.ts';

const outcomeSchema = z.union([
  z.object({ ok: z.literal(true), ...measuredOutcomeSchema.shape }),
  z.object({ ok: z.literal(false), message: z.string() }),
]);

export const measureConfig: Measure = async (config) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-measure-'));
  try {
    const file = path.join(folder, 'run.json');
    await writeFile(file, JSON.stringify({ schemaVersion: 1, config }));
    const { stdout, stderr } = await execa(python, ['-m', 'trainer.measure', '--config', file], {
      cwd: projectDir,
      stdin: 'ignore',
      reject: false,
      env: { TEMPER_PARENT_PID: String(process.pid) },
    });
    const { data } = outcomeSchema.safeParse(parseJson(stdout.trimEnd().split('\n').at(-1) ?? ''));
    if (data?.ok === true) {
      const { ok: _, ...measured } = data;
      return measured;
    }
    const why = data?.message ?? stderr.trim().split('\n').at(-1);
    throw new ClientError('input', `${why}. Nothing was started.`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
