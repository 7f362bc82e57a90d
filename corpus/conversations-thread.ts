/** Reads the conversations that a pipeline file names in a thread of its own, for who may not load this folder. */
import { parentPort, workerData } from 'node:worker_threads';
import {
  longestFromScratch,
  type ConversationsReply,
  type ConversationsRequest,
} from '../config/conversations.ts';
import { conversationFiles, recordsOf, refuseNoConversation } from './conversation-files.ts';
import { makeConversations } from './conversations.ts';
import { CorpusError } from './errors.ts';
import { readText } from './read-text.ts';

const maxBytes = 1024 * 1024 * 1024;
/** Letters after which it is enough that something of them can be learnt. */
const enough = 64 * 1024 * 1024;

const port = parentPort;
if (port === null) throw new Error('conversations-thread.ts runs as a worker thread only');
const tell = (reply: ConversationsReply): void => port.postMessage(reply);

async function look({ baseDir, sources, ...options }: ConversationsRequest): Promise<void> {
  const read: { records: unknown[]; maxTokens: number }[] = [];
  const files: string[] = [];
  let [letters, unreadable] = [0, 0];
  for (const { path: pattern, maxTokens = longestFromScratch } of sources) {
    for (const file of await conversationFiles(pattern, baseDir)) {
      if (letters > enough && makeConversations(read, options).train.length > 0) return;
      const asked = { field: 'data.conversations', maxBytes, onPiece: () => {} };
      const text = await readText(file, asked);
      const found = await recordsOf(file, text);
      files.push(file);
      letters += text.length;
      unreadable += found.unreadable;
      read.push({ records: found.records, maxTokens });
    }
  }
  refuseNoConversation(makeConversations(read, options), { files, unreadable });
}

try {
  await look(workerData as ConversationsRequest);
  tell({ kind: 'done' });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  tell({ kind: 'failed', wrongInput: error instanceof CorpusError, message });
}
