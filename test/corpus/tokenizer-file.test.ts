import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CorpusError } from '../../corpus/errors.ts';
import { adoptTokenizerFile } from '../../corpus/tokenizer-file.ts';
import { madeTokenizer, piecesTokenizer } from '../support/tokenizers.ts';

let baseDir: string;
beforeAll(async () => {
  baseDir = await mkdtemp(path.join(os.tmpdir(), 'temper-tokenizer-'));
});
afterAll(async () => {
  await rm(baseDir, { recursive: true });
});

async function adopted(tokenizer: object) {
  await writeFile(path.join(baseDir, 't.json'), JSON.stringify(tokenizer));
  return adoptTokenizerFile({ baseDir, from: './t.json' });
}

test('a tokenizer is taken over from its file', async () => {
  expect(await adopted(madeTokenizer())).toMatchObject({ vocabSize: 262 });
});

test.each<[string, () => object]>([
  [
    'normalizes by a table that is none',
    () => ({
      ...madeTokenizer(),
      normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' },
    }),
  ],
  [
    'has a prefix that is longer than its tokens',
    () => {
      const { decoder, ...rest } = piecesTokenizer('none');
      const model = { ...rest.model, continuing_subword_prefix: 'longer than any token' };
      return { ...rest, decoder, model };
    },
  ],
])('one over which its library ends the process is refused: it %s', async (_, made) => {
  const refused = await adopted(made()).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(CorpusError);
  expect((refused as Error).message).toMatch(
    /^tokenizer\.from: \.\/t\.json: found what the tokenizers library ends itself over, expected/,
  );
});
