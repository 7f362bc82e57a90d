/** Takes over a tokenizer.json in a process of its own, which the library may end: `node corpus/tokenizer-look.ts FILE`. */
import { readFile } from 'node:fs/promises';
import { CorpusError } from './errors.ts';
import { adoptTokenizer } from './given-tokenizer.ts';

try {
  await adoptTokenizer(await readFile(process.argv[2]!, 'utf8'), '');
} catch (error) {
  // Whoever asked finds the same, and says it.
  if (!(error instanceof CorpusError)) throw error;
}
