import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type * as threads from 'node:worker_threads';
import { execa } from 'execa';
import { expect, test, vi } from 'vitest';
import { bytesOf } from '../../corpus/formats/bytes.ts';
import { readContained } from '../../corpus/formats/contained.ts';
import { readRecords } from '../../corpus/formats/read.ts';
import { Account } from '../../corpus/formats/types.ts';
import { zip } from './make-files.ts';

/** Files that one thread may read before the next one ends it. */
const worn = vi.hoisted(() => ({ after: Infinity, started: 0 }));
vi.mock('node:worker_threads', async (original) => {
  const real = await original<typeof threads>();
  class Wearing extends real.Worker {
    files = 0;
    constructor(...given: ConstructorParameters<typeof real.Worker>) {
      super(...given);
      worn.started += 1;
    }
    override postMessage(message: object): void {
      if ('file' in message && (this.files += 1) > worn.after) void this.terminate();
      else super.postMessage(message);
    }
  }
  return { ...real, Worker: Wearing };
});

const twoTexts = zip([
  { name: 'a.txt', content: 'one' },
  { name: 'b.txt', content: 'two' },
]);

async function contained(file: string): Promise<object[]> {
  const records: object[] = [];
  for await (const record of readContained(file, path.basename(file), 'text')) records.push(record);
  return records;
}

test('what other files left in a thread is no fault of the next one', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'temper-contained-'));
  const file = path.join(folder, 'a.zip');
  await writeFile(file, twoTexts);
  const first = await contained(file);
  expect(first).toHaveLength(2);
  worn.after = 1;
  expect(await contained(file)).toEqual(first);
  expect(worn.started).toBe(2);
  worn.after = 0;
  expect(await contained(file)).toMatchObject([{ position: null, reason: 'crashed' }]);
  await rm(folder, { recursive: true });
});

const letter = (text: string) => `From a@b.io\nSubject: s\nContent-Type: text/plain\n\n${text}\n\n`;

test.each([
  ['a.zip', twoTexts, ['!/a.txt', '', '!/b.txt', '']],
  ['a.mbox', Buffer.from(letter('one') + letter('two')), ['#1', '', '#2', '']],
  [
    'a.zip',
    zip([{ name: 'a.mbox', content: letter('one') }]),
    ['!/a.mbox', '!/a.mbox#1', '!/a.mbox', ''],
  ],
])(
  'a member of %s is named where it begins, and what is around it where it ends',
  async (...given) => {
    const [name, bytes, expected] = given;
    const heard: string[] = [];
    const onLeaf = (inside: string): null => {
      heard.push(inside);
      return null;
    };
    const account = new Account(bytes.length);
    const reading = { textField: 'text', account, depth: 0, inside: '', onLeaf };
    for await (const record of readRecords(name, bytesOf(bytes), reading))
      expect(record).toHaveProperty('text');
    expect(heard).toEqual(expected);
  },
);

test('a process that has read a file in a thread ends by itself', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'temper-contained-'));
  const file = path.join(folder, 'a.zip');
  await writeFile(file, twoTexts);
  const module = path.resolve(import.meta.dirname, '../../corpus/formats/contained.ts');
  const script = path.join(folder, 'read.mjs');
  await writeFile(
    script,
    `import { readContained } from ${JSON.stringify(module)};
    for await (const { text } of readContained(${JSON.stringify(file)}, 'a.zip', 'text')) console.log(text);`,
  );
  const { stdout, timedOut } = await execa(process.execPath, [script], {
    timeout: 15_000,
    reject: false,
  });
  expect([stdout, timedOut]).toEqual(['one\ntwo', false]);
  await rm(folder, { recursive: true });
}, 20_000);
