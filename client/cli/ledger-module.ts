/** Counts with the trainer's own order. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ClientError } from '../errors.ts';
import { countedSchema, type Counted, type PhaseData } from '../ledger/ledger.ts';
import { askTrainer } from './trainer-module.ts';

const answerSchema = z.object({ phases: z.array(countedSchema) });

/** One answer for each phase. */
export async function countPhases(phases: PhaseData[]): Promise<Counted[]> {
  const told = await askTrainer('ledger', answerSchema, (folder) => configOf(phases, folder));
  if ('answer' in told) return told.answer.phases;
  throw new ClientError(
    'failed',
    `trainer.ledger could not count: ${told.why}. npx temper doctor tells whether the Python packages are whole.`,
  );
}

async function configOf(phases: PhaseData[], folder: string): Promise<object> {
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
