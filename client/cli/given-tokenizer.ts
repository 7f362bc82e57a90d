/** Takes over the tokenizer that a pipeline file names as a run would, in a thread, to say before it what is wrong with it. */
import type { AdoptTokenizer } from '../plan.ts';
import { askThread } from './corpus-thread.ts';

export const adoptTokenizer: AdoptTokenizer = async (request) =>
  await askThread({
    file: 'tokenizer-thread.ts',
    request,
    what: 'the look at the tokenizer',
    read: import('../../config/tokenizer.ts').then(
      ({ tokenizerReplySchema }) =>
        (message) =>
          tokenizerReplySchema.parse(message),
    ),
    take: ({ vocabSize }) => ({ vocabSize }),
  });
