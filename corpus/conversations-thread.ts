/** Reads the conversations that a pipeline file names in a thread of its own, for who may not load this folder. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ConversationsReply, ConversationsRequest } from '../config/conversations.ts';
import { CorpusError } from './errors.ts';
import { requireLearnable } from './look-for-conversations.ts';

const port = parentPort;
if (port === null) throw new Error('conversations-thread.ts runs as a worker thread only');
const tell = (reply: ConversationsReply): void => port.postMessage(reply);

try {
  await requireLearnable(workerData as ConversationsRequest);
  tell({ kind: 'done' });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  tell({ kind: 'failed', wrongInput: error instanceof CorpusError, message });
}
