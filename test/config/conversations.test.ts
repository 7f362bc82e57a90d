import { expect, test } from 'vitest';
import { pipelineSchema } from '../../config/pipeline.ts';

const file = (data: object, rest: object = {}) =>
  pipelineSchema.safeParse({
    version: 1,
    name: 'talker',
    data: { sources: [{ path: 'docs', license: 'MIT' }], ...data },
    ...rest,
  });
const conversations = [{ path: 'chats.jsonl', license: 'MIT' }];

test('conversations make an assistant, as long as the rows of its model', () => {
  const scratch = file({ conversations });
  expect(scratch.data).toMatchObject({
    goal: 'assistant',
    data: { conversations: [{ maxTokens: 128 }] },
  });
  expect(pipelineSchema.parse(scratch.data)).toEqual(scratch.data);
  const adapted = file({ conversations }, { startFrom: 'smollm2' });
  expect(adapted.data?.data.conversations?.[0]?.maxTokens).toBe(1024);
  const said = file({ conversations: [{ ...conversations[0], maxTokens: 64 }] });
  expect(said.data?.data.conversations?.[0]?.maxTokens).toBe(64);
  expect(file({}).data).toMatchObject({ goal: 'base' });
  expect(file({}).data?.data).not.toHaveProperty('conversations');
});

test('phases that learn answers may learn them from conversations, and adapting learns none', () => {
  expect(file({ conversations }, { phases: ['pretrain', 'sft'] }).success).toBe(true);
  expect(file({}, { phases: ['pretrain', 'sft'] }).success).toBe(false);
  const refused = file({ conversations }, { startFrom: 'smollm2', goal: 'adapt' });
  expect(refused.error?.issues[0]?.path.join('.')).toBe('data.conversations');
  expect(file({ conversations }, { goal: 'embeddings' }).success).toBe(false);
});
