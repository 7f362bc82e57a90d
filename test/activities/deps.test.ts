import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { expect, test } from 'vitest';
import { rememberingDeps, type Deps } from '../../activities/deps.ts';
import { memoryStore } from '../support/memory-store.ts';

const logger = new DefaultLogger('ERROR');
const record = 'stages/clean-shard/a.json';

test('what a data worker remembers of stages is for the activities of one execution', async () => {
  const memory = memoryStore();
  const { store } = rememberingDeps({ store: memory } as unknown as Deps);
  const inExecution = async <Result>(runId: string, work: () => Promise<Result>) =>
    new MockActivityEnvironment(
      { workflowExecution: { workflowId: 'preprocess/policy-7f3a', runId } },
      { logger },
    ).run(work) as Promise<Result>;
  const read = async () => store.get(record);
  await inExecution('a', async () => store.putIfAbsent(record, Buffer.from('made')));
  memory.objects.clear();
  expect((await inExecution('a', read))?.bytes.toString()).toBe('made');
  expect(await inExecution('b', read)).toBeNull();
  expect(await read()).toBeNull();
});
