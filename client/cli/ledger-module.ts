/** Counts with the trainer's own order: runs `python -m trainer.ledger` and waits for its last line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir, python } from '../../infra/layout.ts';
import { ClientError } from '../errors.ts';
import { countedSchema, type Counted, type PhaseData } from '../ledger/ledger.ts';

const outcomeSchema = z.union([
  z.object({ ok: z.literal(true), phases: z.array(countedSchema) }),
  z.object({ ok: z.literal(false), message: z.string() }),
]);

/** One answer for each phase. */
export async function countPhases(phases: PhaseData[]): Promise<Counted[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-ledger-'));
  try {
    const config = path.join(folder, 'config.json');
    await writeFile(config, JSON.stringify(await configOf(phases, folder)));
    const { stdout, stderr, exitCode } = await execa(
      python,
      ['-m', 'trainer.ledger', '--config', config],
      {
        cwd: projectDir,
        stdin: 'ignore',
        reject: false,
        env: { TEMPER_PARENT_PID: String(process.pid) },
      },
    );
    const outcome = outcomeSchema.safeParse(parseJson(stdout.trimEnd().split('\n').at(-1) ?? ''));
    if (outcome.data?.ok === true) return outcome.data.phases;
    const last = stderr.trim().split('\n').at(-1);
    const why = outcome.data?.message ?? (last || `it ended with ${exitCode}`);
    throw new ClientError(
      'failed',
      `trainer.ledger could not count: ${why}. npx temper doctor tells whether the Python packages are whole.`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function configOf(phases: PhaseData[], folder: string): Promise<unknown> {
  const written = [];
  for (const [number, { shards, replay, ...phase }] of phases.entries()) {
    written.push({
      ...phase,
      shards: await writeIndexes(shards, path.join(folder, String(number))),
      replay: replay && {
        ...replay,
        shards: await writeIndexes(replay.shards, path.join(folder, `${number}-replay`)),
      },
    });
  }
  return { schemaVersion: 1, phases: written };
}

async function writeIndexes(shards: PhaseData['shards'], prefix: string) {
  const files = [];
  for (const [index, shard] of shards.entries()) {
    const file = `${prefix}-${index}`;
    await writeFile(file, shard.index);
    files.push({ path: file, numTokens: shard.numTokens });
  }
  return files;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
