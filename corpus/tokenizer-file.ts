/** Reads the tokenizer.json that a pipeline file names, and takes it over: alike before a run and in it. */
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TokenizerRequest } from '../config/tokenizer.ts';
import { CorpusError } from './errors.ts';
import { adoptTokenizer, type AdoptedTokenizer } from './given-tokenizer.ts';

const run = promisify(execFile);

/** The largest vocabularies in use take 35 MB. */
const mostBytes = 100_000_000;
const mostMs = 300_000;
/** How a process ends that ends itself; by the others somebody else ends it. */
const ownEnds = ['SIGABRT', 'SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGTRAP'];

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
  await requireSurvived(file, from);
  return await adoptTokenizer(await readFile(file, 'utf8'), from);
}

/** Of some files that contradict themselves the library ends its whole process: one of its own looks first. */
async function requireSurvived(file: string, from: string): Promise<void> {
  const look = path.join(import.meta.dirname, 'tokenizer-look.ts');
  const ended = await run(process.execPath, [look, file], {
    timeout: mostMs,
    killSignal: 'SIGKILL',
  }).catch((error: unknown) => error as { killed?: boolean; signal?: NodeJS.Signals | null });
  if (!('signal' in ended) || ended.signal == null) return;
  const ends = ownEnds.includes(ended.signal);
  if (!ends && ended.killed !== true) {
    throw new Error(`tokenizer.from: ${from}: the look at it was ended by ${ended.signal}.`);
  }
  throw new CorpusError(
    `tokenizer.from: ${from}: found what the tokenizers library ${ends ? 'ends itself over' : `looks at for more than ${mostMs / 60_000} minutes`}, ` +
      'expected a tokenizer.json of its format. Give another tokenizer.json, or remove tokenizer to train one.',
  );
}
