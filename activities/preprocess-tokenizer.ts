/** Takes over a tokenizer.json that a pipeline file names, and keeps it as a blob. */
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import { CorpusError } from '../corpus/errors.ts';
import { adoptTokenizerFile } from '../corpus/tokenizer-file.ts';
import { putBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { withHeartbeats } from './heartbeats.ts';
import type { KeptTokenizer } from './preprocess-input.ts';

export async function takeTokenizerFile(
  store: Store,
  baseDir: string,
  from: string,
): Promise<KeptTokenizer> {
  try {
    const { tokenizer, vocabSize } = await withHeartbeats({ kind: 'tokenizer' }, async () =>
      adoptTokenizerFile({ baseDir, from }),
    );
    return { file: await putBlob(store, Buffer.from(tokenizer)), vocabSize };
  } catch (error) {
    if (!(error instanceof CorpusError)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, FailureType.InvalidConfig);
  }
}
