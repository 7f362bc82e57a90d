/** Reads the files of conversations that a pipeline file names, into lines that the trainer takes. */
import { Context } from '@temporalio/activity';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import {
  longestFromScratch,
  type ConversationSource,
  type ConversationsRead,
} from '../config/conversations.ts';
import type { ConversationOptions } from '../corpus/conversations.ts';
import {
  conversationFiles,
  recordsOf,
  refuseNoConversation,
} from '../corpus/conversation-files.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { readText } from '../corpus/read-text.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import type { ThreadPool } from './preprocess-threads.ts';

const maxBytes = 1024 * 1024 * 1024;

type ReadOptions = Omit<ConversationOptions, 'contamination'> & {
  /** Of the evaluation sets; left out, there are none. */
  grams?: BlobRef | undefined;
};

export async function readConversationFiles(
  store: Store,
  threads: ThreadPool,
  baseDir: string,
  sources: readonly ConversationSource[],
  { grams, ...options }: ReadOptions,
): Promise<ConversationsRead> {
  const files: { records: unknown[]; maxTokens: number }[] = [];
  const named: string[] = [];
  let numUnreadable = 0;
  const context = Context.current();
  for (const [index, source] of sources.entries()) {
    const onPiece = (): void =>
      context.heartbeat({ kind: 'conversations', done: index, total: sources.length });
    const { path: pattern, maxTokens = longestFromScratch } = source;
    for (const file of await conversationFiles(pattern, baseDir)) {
      named.push(file);
      const { records, unreadable } = await recordsOf(
        file,
        await readText(file, { field: 'data.conversations', maxBytes, onPiece }),
        () => progress('conversations', index, sources.length),
      );
      numUnreadable += unreadable;
      files.push({ records, maxTokens });
    }
    await progress('conversations', index + 1, sources.length);
  }
  const made = await threads.run(
    'conversations',
    {
      files,
      options,
      ...(grams !== undefined && {
        grams: { digest: grams.sha256, packed: await readBlob(store, grams) },
      }),
    },
    (done, total) => {
      context.heartbeat({ kind: 'conversations', done, total });
    },
  );
  const { train, preferences, preferencesHeldOut, numRecords, dropped, redacted } = made;
  refuseNoConversation(made, { files: named, unreadable: numUnreadable });
  return {
    train: await putLines(store, train),
    preferences: await putLines(store, preferences),
    preferencesHeldOut: await putLines(store, preferencesHeldOut),
    numTrain: train.length,
    numPreferences: preferences.length,
    numPreferencesHeldOut: preferencesHeldOut.length,
    numRecords: numRecords + numUnreadable,
    dropped: { ...dropped, ...(numUnreadable > 0 && { invalid_json: numUnreadable }) },
    redacted,
    licenses: [...new Set(sources.map(({ license }) => license))].toSorted(byCodeUnits),
  };
}

/** Not compressed: the trainer reads it as it is. */
async function putLines(store: Store, records: readonly unknown[]): Promise<BlobRef> {
  return putBlob(
    store,
    Buffer.from(records.map((record) => `${canonicalJson(record)}\n`).join('')),
  );
}
