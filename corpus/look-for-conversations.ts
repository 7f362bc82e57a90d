/** Looks through files of conversations until one is found that can be learnt, each record once and in bounded memory. */
import { longestFromScratch, type ConversationsRequest } from '../config/conversations.ts';
import { conversationFiles, recordsOf, refuseNoConversation } from './conversation-files.ts';
import { makeConversations, type Conversations } from './conversations.ts';
import { readText } from './read-text.ts';

const maxBytes = 1024 * 1024 * 1024;
/** Letters that are judged at once: of so many it is enough that something of them can be learnt. */
const enoughLetters = 64 * 1024 * 1024;

/** Throws a CorpusError where a run would find none. `onRecord` hears of each record that is judged. */
export async function requireLearnable(
  { baseDir, sources, ...options }: ConversationsRequest,
  { enough = enoughLetters, onRecord = () => {} }: { enough?: number; onRecord?: () => void } = {},
): Promise<void> {
  const files: string[] = [];
  const found: Found = { train: [], numRecords: 0, dropped: {}, details: {} };
  let together: { records: unknown[]; maxTokens: number }[] = [];
  let [letters, unreadable] = [0, 0];
  const judge = (): void => {
    add(found, makeConversations(together, options, onRecord));
    together = [];
    letters = 0;
  };
  for (const { path: pattern, maxTokens = longestFromScratch } of sources) {
    for (const file of await conversationFiles(pattern, baseDir)) {
      const asked = { field: 'data.conversations', maxBytes, onPiece: () => {} };
      const text = await readText(file, asked);
      const read = await recordsOf(file, text);
      files.push(file);
      unreadable += read.unreadable;
      together.push({ records: read.records, maxTokens });
      letters += text.length;
      if (letters > enough) judge();
      if (found.train.length > 0) return;
    }
  }
  judge();
  refuseNoConversation(found, { files, unreadable });
}

type Found = Pick<Conversations, 'train' | 'numRecords' | 'dropped' | 'details'>;

function add(found: Found, { train, numRecords, dropped, details }: Conversations): void {
  found.train = train;
  found.numRecords += numRecords;
  for (const [reason, count] of Object.entries(dropped))
    found.dropped[reason] = (found.dropped[reason] ?? 0) + count;
  found.details = { ...details, ...found.details };
}
