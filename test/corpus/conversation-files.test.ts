/** Files of conversations: what nothing can be learnt from is told with what was found in its place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requireConversations } from '../../client/cli/given-conversations.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import {
  conversationFiles,
  recordsOf,
  refuseNoConversation,
} from '../../corpus/conversation-files.ts';
import { makeConversations } from '../../corpus/conversations.ts';
import { requireLearnable } from '../../corpus/look-for-conversations.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-chats-'));
  writeFileSync(path.join(folder, 'b.csv'), 'question,answer\nhi,there\n');
  writeFileSync(path.join(folder, 'a.jsonl'), '{"instruction":"Add 1 2","output":"3"}\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function refusal(name: string, text: string): Promise<string | null> {
  const { records, unreadable } = await recordsOf(name, text);
  const made = makeConversations([{ records, maxTokens: 64 }], {
    personalData: 'keep',
    heldOut: 0.1,
    seed: 1,
  });
  try {
    refuseNoConversation(made, { files: [`/x/${name}`], unreadable });
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

test('a table is told from conversations, and where it belongs', async () => {
  expect(await refusal('qa.csv', 'question,answer\nhi,there\n')).toBe(
    'data.conversations: found none among 2 records of qa.csv (invalid_json 2), expected at least 1. ' +
      'Documents and tables to learn from as text belong in data.sources. A conversation is a record of JSON, ' +
      'such as {"instruction": "…", "output": "…"} on a line of a .jsonl file.',
  );
});

test('records of another shape are told by their fields, conversations that are too long by that', async () => {
  expect(await refusal('d.jsonl', '{"text":"a"}\n{"text":"b"}\n')).toMatch(
    /among 2 records of d\.jsonl \(unknown_shape 2; the first: found the fields text, expected messages, .*\), expected at least 1\. Documents and tables/,
  );
  const long = JSON.stringify({ instruction: 'a', output: 'word '.repeat(500) });
  expect(await refusal('l.jsonl', long)).toBe(
    'data.conversations: found none among 1 records of l.jsonl (too_long 1), expected at least 1. Correct the files, or raise maxTokens.',
  );
  expect(await refusal('c.jsonl', '{"instruction":"a","output":"b"}\nbroken\n')).toBeNull();
});

test('of several reasons the commonest is told with what was found, and what to do about that one', async () => {
  const record = (fields: object) => `${JSON.stringify(fields)}\n`;
  const unlearnt = record({
    messages: [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b', weight: 0 },
    ],
  });
  const text = record({ text: 'a' });
  expect(await refusal('w.jsonl', unlearnt)).toMatch(
    /\(unlearnt_turn 1; the first: found an answer of weight 0, expected all to be learnt\), .* Correct the files\.$/,
  );
  expect(await refusal('k.jsonl', text + unlearnt + unlearnt)).toMatch(
    /\(unlearnt_turn 2, unknown_shape 1; the first unlearnt_turn: found an answer of weight 0, .*\), .* Correct the files\.$/,
  );
  expect(await refusal('t.jsonl', unlearnt + text + text)).toMatch(
    /\(unknown_shape 2, unlearnt_turn 1; the first unknown_shape: found the fields text, .* Documents and tables/,
  );
  const long = record({ instruction: 'a', output: 'word '.repeat(500) });
  expect(await refusal('l.jsonl', long + long + text)).toMatch(
    /\(too_long 2, unknown_shape 1\), .* or raise maxTokens\.$/,
  );
});

test('before a run they are read as in it, and refused in the same words', async () => {
  expect(await conversationFiles('*', folder)).toEqual(
    ['a.jsonl', 'b.csv'].map((name) => path.join(folder, name)),
  );
  const pipeline = (file: string) =>
    pipelineSchema.parse({
      version: 1,
      name: 'policy',
      data: {
        sources: [{ path: '.', license: 'internal' }],
        conversations: [{ path: file, license: 'internal' }],
      },
    });
  await expect(requireConversations(pipeline('a.jsonl'), folder)).resolves.toBeUndefined();
  await expect(requireConversations(pipeline('b.csv'), folder)).rejects.toMatchObject({
    name: 'ClientError',
    kind: 'input',
    message: expect.stringMatching(
      /^data\.conversations: found none among 2 records of b\.csv .*Nothing was started\.$/,
    ) as string,
  });
});

test('of many files each record is judged once, and none after some that can be learnt', async () => {
  for (let at = 0; at < 20; at += 1)
    writeFileSync(path.join(folder, `many-${at + 10}.jsonl`), '{"text":"a"}\n{"text":"b"}\n[]\n');
  writeFileSync(path.join(folder, 'many-15.jsonl'), '{"prompt":"a"}\n');
  const look = async (pattern: string) => {
    let numRecords = 0;
    const options = { personalData: 'keep', heldOut: 0.1, seed: 1 } as const;
    const sources = [{ path: pattern, license: 'internal' }];
    const onRecord = (): number => (numRecords += 1);
    const said = await requireLearnable(
      { baseDir: folder, sources, ...options },
      { enough: 50, onRecord },
    )
      .then(() => null)
      .catch((error: unknown) => (error as Error).message);
    return { said, numRecords };
  };
  const { said, numRecords } = await look('many-*.jsonl');
  expect(said).toMatch(/^data\.conversations: found none among 58 records of .* and 17 more \(/);
  expect(said).toContain('unknown_shape 57, no_answer 1');
  expect(numRecords).toBe(58);

  // What comes after it is not even read.
  const learnt = '{"instruction":"Add 1 2","output":"3"}\n'.repeat(2);
  writeFileSync(path.join(folder, 'many-28.jsonl'), learnt);
  writeFileSync(path.join(folder, 'many-29.json'), 'broken');
  expect(await look('many-*')).toEqual({ said: null, numRecords: 54 });
});
