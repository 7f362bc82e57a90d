import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure } from '@temporalio/common';
import { expect, test } from 'vitest';
import { rootMessage } from '../../workflows/root-message.ts';

const inActivity = (cause: Error | undefined) =>
  new ActivityFailure('Activity task failed', 'train', 'a', 'IN_PROGRESS', 'worker', cause);
const inChild = (cause: Error | undefined) =>
  new ChildWorkflowFailure(
    'default',
    { workflowId: 'w', runId: 'r' },
    'training',
    'IN_PROGRESS',
    cause,
  );
const failure = (message: string, cause?: Error) =>
  ApplicationFailure.create({ message, type: 'Error', ...(cause ? { cause } : {}) });

test('the causes are followed to the deepest, and no sentence on the way is lost', () => {
  const root = failure('latency: no answer', failure('fetch failed', failure('refused at port 1')));
  expect(rootMessage(inChild(inActivity(root)))).toBe(
    'latency: no answer: fetch failed: refused at port 1',
  );
});

test('a cause that says nothing, or what was said, adds nothing', () => {
  expect(rootMessage(inActivity(failure('too few documents', failure('too few documents'))))).toBe(
    'too few documents',
  );
  expect(rootMessage(failure('disk full', failure('')))).toBe('disk full');
});

test('a wrapper with nothing inside says what it is', () => {
  expect(rootMessage(inActivity(undefined))).toBe('Activity task failed');
  expect(rootMessage('just text')).toBe('just text');
});
