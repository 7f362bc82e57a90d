/** Reads the files of conversations that a pipeline file names, into lines that the trainer takes. */
import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import { Context } from '@temporalio/activity';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import {
  longestFromScratch,
  type ConversationSource,
  type ConversationsRead,
} from '../config/conversations.ts';
import type { ConversationOptions } from '../corpus/conversations.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import { readText } from './preprocess-files.ts';
import type { ThreadPool } from './preprocess-threads.ts';

const maxBytes = 1024 * 1024 * 1024;
/** Lines between two heartbeats. */
const someLines = 20_000;

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
  let numUnreadable = 0;
  const context = Context.current();
  for (const [index, source] of sources.entries()) {
    const onPiece = (): void =>
      context.heartbeat({ kind: 'conversations', done: index, total: sources.length });
    const { path: pattern, maxTokens = longestFromScratch } = source;
    const found: string[] = [];
    for await (const file of glob(pattern, { cwd: baseDir })) {
      if ((await stat(path.resolve(baseDir, file))).isFile())
        found.push(path.resolve(baseDir, file));
    }
    if (found.length === 0) {
      throw new CorpusError(
        `data.conversations: found no file ${pattern} (from ${baseDir}), expected .json, .jsonl or .jsonl.gz. Correct the path.`,
      );
    }
    for (const file of found.toSorted(byCodeUnits)) {
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
  if (train.length === 0) {
    const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
    throw new CorpusError(
      `data.conversations: found none among ${numRecords} records (${reasons.join(', ') || 'no record'}), expected at least 1. ` +
        'Correct the files, or raise maxTokens.',
    );
  }
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

/** A list or one object of JSON, else an object a line. */
async function recordsOf(
  file: string,
  text: string,
  onLines: () => Promise<void>,
): Promise<{ records: unknown[]; unreadable: number }> {
  if (/\.json(?:\.gz)?$/i.test(file)) {
    try {
      const whole: unknown = JSON.parse(text);
      return { records: Array.isArray(whole) ? whole : [whole], unreadable: 0 };
    } catch {
      throw new CorpusError(
        `data.conversations: ${file} is no JSON. Correct it, or name it .jsonl where each line is a record.`,
      );
    }
  }
  const records: unknown[] = [];
  let unreadable = 0;
  for (const [index, line] of text.split('\n').entries()) {
    if (index % someLines === someLines - 1) await onLines();
    if (line.trim() === '') continue;
    try {
      records.push(JSON.parse(line));
    } catch {
      unreadable += 1;
    }
  }
  return { records, unreadable };
}

/** Not compressed: the trainer reads it as it is. */
async function putLines(store: Store, records: readonly unknown[]): Promise<BlobRef> {
  return putBlob(
    store,
    Buffer.from(records.map((record) => `${canonicalJson(record)}\n`).join('')),
  );
}
