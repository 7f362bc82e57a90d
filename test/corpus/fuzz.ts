/**
 * `npm run fuzz [-- --seconds 600 --seed 1 --format a.pdf]`: damages small valid files and reads them. Each reading must
 * end in time, in documents or refusals with a reason; exits 1 and keeps the file where one does not.
 */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readContained } from '../../corpus/formats/contained.ts';
import { damaged, randomOf, samples } from './fuzz-samples.ts';

/** A reading of so few bytes that takes longer hangs. */
const limits = { heapMb: 512, outsideMb: 1024, stillMs: 20_000 };

/** What is wrong with the reading of a file; null: nothing. */
export async function faultOf(file: string, name: string): Promise<string | null> {
  let records = 0;
  for await (const record of readContained(file, name, 'text', limits)) {
    records += 1;
    if (!('reason' in record)) continue;
    if (record.reason === 'timed_out' || record.reason === 'crashed') return record.reason;
    if (!/^[a-z_]+$/.test(record.reason) || record.detail === '') return 'no reason';
  }
  return records === 0 ? 'neither a document nor a reason' : null;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '300' },
      seed: { type: 'string', default: '1' },
      format: { type: 'string' },
    },
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'temper-fuzz-'));
  const all = Object.entries(await samples()).filter(
    ([name]) => values.format === undefined || name === values.format,
  );
  const random = randomOf(Number(values.seed));
  const until = performance.now() + Number(values.seconds) * 1000;
  let rounds = 0;
  for (; performance.now() < until; rounds += 1) {
    const [name, bytes] = all[rounds % all.length]!;
    const file = path.join(folder, `${rounds % all.length}`);
    await writeFile(file, damaged(bytes, random));
    const fault = await faultOf(file, name);
    if (fault !== null) {
      process.stderr.write(
        `${fault}: ${name}, seed ${values.seed}, round ${rounds}, kept as ${file}\n`,
      );
      return 1;
    }
  }
  process.stdout.write(
    `${rounds} damaged files of ${all.length} kinds, seed ${values.seed}: each ended with a reason\n`,
  );
  return 0;
}

if (import.meta.main) process.exit(await main());
