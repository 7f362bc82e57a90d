/** Reads the tokenizer.json that a pipeline file names, and takes it over: alike before a run and in it. */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { TokenizerRequest } from '../config/tokenizer.ts';
import { CorpusError } from './errors.ts';
import { adoptTokenizer, type AdoptedTokenizer } from './given-tokenizer.ts';

/** The largest vocabularies in use take 35 MB. */
const mostBytes = 100_000_000;

/** Throws a CorpusError that says why the file cannot be used. */
export async function adoptTokenizerFile({
  baseDir,
  from,
}: TokenizerRequest): Promise<AdoptedTokenizer> {
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
  return await adoptTokenizer(await readFile(file, 'utf8'), from);
}
