/** Files of conversations as a pipeline file names them: which they are, what they hold, and that nothing of it can be learnt. */
import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Conversations } from './conversations.ts';
import { CorpusError } from './errors.ts';
import { byCodeUnits } from './order.ts';

/** In order; throws a CorpusError where there is none. */
export async function conversationFiles(pattern: string, baseDir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const file of glob(pattern, { cwd: baseDir })) {
    const place = path.resolve(baseDir, file);
    if ((await stat(place)).isFile()) found.push(place);
  }
  if (found.length > 0) return found.toSorted(byCodeUnits);
  throw new CorpusError(
    `data.conversations: found no file ${pattern} (from ${baseDir}), expected .json, .jsonl or .jsonl.gz. Correct the path.`,
  );
}

/** Lines between two calls of `onLines`. */
const someLines = 20_000;

/** A list or one object of JSON, else an object a line. */
export async function recordsOf(
  file: string,
  text: string,
  onLines: () => Promise<void> = () => Promise.resolve(),
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

/** Throws where no conversation is left to learn from, with what was found in its place. */
export function refuseNoConversation(
  {
    train,
    numRecords,
    dropped,
    details,
  }: Pick<Conversations, 'train' | 'numRecords' | 'dropped' | 'details'>,
  { files, unreadable }: { files: readonly string[]; unreadable: number },
): void {
  if (train.length > 0) return;
  const all = { ...dropped, ...(unreadable > 0 && { invalid_json: unreadable }) };
  const reasons = Object.entries(all).toSorted(
    ([a, one], [b, other]) => other - one || byCodeUnits(a, b),
  );
  const counts = reasons.map(([reason, count]) => `${reason} ${count}`);
  const shown = files.slice(0, 3).map((file) => path.basename(file));
  const others = files.length > shown.length ? ` and ${files.length - shown.length} more` : '';
  const commonest = reasons[0]?.[0] ?? '';
  const detail = details[commonest];
  const first = reasons.length === 1 ? 'the first' : `the first ${commonest}`;
  const why = detail === undefined ? '' : `; ${first}: ${detail}`;
  throw new CorpusError(
    `data.conversations: found none among ${numRecords + unreadable} records of ${shown.join(', ')}${others} ` +
      `(${counts.join(', ') || 'no record'}${why}), expected at least 1. ` +
      whatToDo(commonest, 'too_long' in all),
  );
}

function whatToDo(commonest: string, isLong: boolean): string {
  if (commonest === 'invalid_json' || commonest === 'unknown_shape')
    return 'Documents and tables to learn from as text belong in data.sources. A conversation is a record of JSON, such as {"instruction": "…", "output": "…"} on a line of a .jsonl file.';
  return isLong ? 'Correct the files, or raise maxTokens.' : 'Correct the files.';
}
