/** Reads a tokenizer.json that a pipeline file names, checks it, and keeps it as a blob. */
import { ApplicationFailure } from '@temporalio/activity';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { FailureType } from '../config/failures.ts';
import { CorpusError } from '../corpus/errors.ts';
import { adoptTokenizer } from '../corpus/given-tokenizer.ts';
import { putBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import type { KeptTokenizer } from './preprocess-input.ts';

/** The largest vocabularies in use take 35 MB. */
const mostBytes = 100_000_000;

export async function takeTokenizerFile(
  store: Store,
  baseDir: string,
  from: string,
): Promise<KeptTokenizer> {
  await progress('files', 0, 1);
  try {
    const { tokenizer, vocabSize } = await adoptTokenizer(await read(baseDir, from), from);
    return { file: await putBlob(store, Buffer.from(tokenizer)), vocabSize };
  } catch (error) {
    if (!(error instanceof CorpusError)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, FailureType.InvalidConfig);
  }
}

async function read(baseDir: string, from: string): Promise<string> {
  const place = path.resolve(baseDir, from);
  const state = await stat(place).catch(() => null);
  const file = state?.isDirectory() === true ? path.join(place, 'tokenizer.json') : place;
  const size = (await stat(file).catch(() => null))?.size;
  if (size === undefined || size > mostBytes) {
    throw new CorpusError(
      `tokenizer.from: ${from}: found ${size === undefined ? 'no file' : `${size} bytes`}, expected a tokenizer.json` +
        `${size === undefined ? '' : ` of at most ${mostBytes} bytes`}. Correct the path; it starts from the folder of the pipeline file.`,
    );
  }
  return await readFile(file, 'utf8');
}
