import { expect, test } from 'vitest';
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

test.each(Object.entries(all))('%s, damaged, ends in documents or reasons', async (name, bytes) => {
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
});
