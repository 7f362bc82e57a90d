import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readContained } from '../../corpus/formats/contained.ts';
import { Account, type FileRecord } from '../../corpus/formats/types.ts';
import { bytesOf } from '../../corpus/formats/bytes.ts';
import { readRecords } from '../../corpus/formats/read.ts';
import { damaged, randomOf, samples } from './fuzz-samples.ts';

const rounds = 40;
const all = await samples();

/** In this process, so that a crash is one of the test. */
async function read(name: string, bytes: Buffer): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  const account = new Account(bytes.length);
  const reading = { textField: 'text', account, depth: 0, inside: '', onLeaf: () => null };
  for await (const record of readRecords(name, bytesOf(bytes), reading)) records.push(record);
  return records;
}

/** Its library believes every length that it finds: only the bound on a thread's memory ends it. */
const { 'a.arrow': arrow, ...others } = all;

test('a.arrow, damaged, ends in documents or reasons, at the worst by the bounds of its thread', async () => {
  const random = randomOf(1);
  const file = path.join(await mkdtemp(path.join(tmpdir(), 'temper-fuzz-')), 'a.arrow');
  for (let round = 0; round < 15; round += 1) {
    await writeFile(file, damaged(arrow!, random));
    const limits = { heapMb: 48, outsideMb: 1024, stillMs: 10_000 };
    const records: FileRecord[] = [];
    for await (const record of readContained(file, 'a.arrow', 'text', limits)) records.push(record);
    expect(records.length, `round ${round}`).toBeGreaterThan(0);
  }
  await rm(path.dirname(file), { recursive: true });
}, 60_000);

test.each(Object.entries(others))(
  '%s, damaged, ends in documents or reasons',
  async (name, bytes) => {
    const random = randomOf(bytes.length);
    for (let round = 0; round < rounds; round += 1) {
      const file = damaged(bytes, random);
      const records = await read(name, file);
      expect(records.length, `round ${round}`).toBeGreaterThan(0);
      for (const record of records) {
        if ('reason' in record) expect(record.reason).toMatch(/^[a-z_]+$/);
        else expect(record.text.isWellFormed()).toBe(true);
      }
      // Twice the same, whatever the damage.
      if (round % 8 === 0) expect(await read(name, file)).toEqual(records);
    }
  },
);
