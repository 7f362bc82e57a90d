/** Takes over the tokenizer that a pipeline file names in a thread of its own, for who may not load this folder. */
import { parentPort, workerData } from 'node:worker_threads';
import type { TokenizerReply, TokenizerRequest } from '../config/tokenizer.ts';
import { CorpusError } from './errors.ts';
import { adoptTokenizerFile } from './tokenizer-file.ts';

const port = parentPort;
if (port === null) throw new Error('tokenizer-thread.ts runs as a worker thread only');
const tell = (reply: TokenizerReply): void => port.postMessage(reply);

try {
  const { vocabSize } = await adoptTokenizerFile(workerData as TokenizerRequest);
  tell({ kind: 'done', vocabSize });
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  tell({ kind: 'failed', wrongInput: error instanceof CorpusError, message });
}
