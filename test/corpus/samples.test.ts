import { expect, test } from 'vitest';
import { cleanShard, sampleOf } from '../../corpus/clean-shard.ts';

const drop = (text: string, personalData: 'redact' | 'keep') =>
  cleanShard([{ id: '1', source: 'a.txt', text, metadata: {} }], { personalData, quality: true })
    .dropped[0];

test('a dropped document keeps a sample of what training would have read: redacted', () => {
  expect(drop('call 0912-345-678 or mail chen@example.tw', 'redact')).toMatchObject({
    reason: 'too_short',
    sample: 'call <PHONE> or mail <EMAIL>',
  });
  expect(drop('mail ｃｈｅｎ@example.tw', 'redact')?.sample).not.toContain('chen');
  expect(drop('mail chen@example.tw', 'keep')?.sample).toBe('mail chen@example.tw');
});

test('nothing that is empty after cleaning has a sample', () => {
  expect(drop('\u200B \n', 'redact')).toEqual({
    id: '1',
    source: 'a.txt',
    reason: 'empty',
    detail: 'found no letter or digit after cleaning',
  });
});

test('a sample has at most 300 units and ends with a whole character', () => {
  expect(sampleOf('字'.repeat(400))).toHaveLength(300);
  expect(sampleOf(`a${'𠮷'.repeat(200)}`)).toBe(`a${'𠮷'.repeat(149)}`);
});
