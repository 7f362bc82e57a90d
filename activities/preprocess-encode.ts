/** Trains the tokenizer with the trainer's module, and encodes shards in a thread, or with the tokenizer's own library where only that knows how. */
import { readFile, appendFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer } from 'tokenizers';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import type { Document } from '../config/manifests.ts';
import type { TrainedWish } from '../config/tokenizer.ts';
import { tokenizerRunSchema } from '../config/trainer.ts';
import { endOfText, Packer, tokenWidth } from '../corpus/pack.ts';
import { cutsWords, piecesOf } from '../corpus/pieces.ts';
import { putBlob, putBlobFile, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { withHeartbeats } from './heartbeats.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { readDocuments } from './preprocess-documents.ts';
import type { EncodedShard, Split, TrainedTokenizer } from './preprocess-records.ts';
import { sharedBlob } from './preprocess-shared.ts';
import type { ThreadTasks } from './preprocess-thread.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { runTrainerModule } from './python.ts';
import { withWorkDir } from './work-dir.ts';

/** Text that the tokenizer learns from at most; the shards are in random order, so the first ones are a sample. */
const sampleBytes = 200_000_000;
/** Characters handed to the native encoder at once. */
const batchLength = 100_000;

export async function trainOnText(
  deps: Deps,
  shards: Split['shards'],
  vocabSize: number,
  kind?: TrainedWish['train'],
): Promise<TrainedTokenizer> {
  const { store } = deps;
  return withWorkDir(deps, async (folder) => {
    const input = path.join(folder, 'text.jsonl');
    let bytes = 0;
    for (const [index, shard] of shards.entries()) {
      if (bytes >= sampleBytes) break;
      const lines = (await readJsonLines(store, shard.documents)) as Document[];
      await appendFile(input, lines.map(({ text }) => `${canonicalJson({ text })}\n`).join(''));
      bytes += shard.bytes;
      await progress('shards', index + 1, shards.length);
    }
    const output = path.join(folder, 'tokenizer.json');
    const run = tokenizerRunSchema.parse({
      schemaVersion: 1,
      inputs: [input],
      vocabSize,
      output,
      ...(kind === 'unigram' && { kind }),
    });
    await withHeartbeats({ kind: 'tokenizer' }, (say) =>
      runTrainerModule(deps, 'tokenizer', run, folder, say),
    );
    const tokenizer = await putBlobFile(store, output);
    const size = Tokenizer.fromString(await readFile(output, 'utf8')).getVocabSize(true);
    return { schemaVersion: 1, tokenizer, vocabSize: size };
  });
}

/** Encodes documents to one token shard and its index. Reads plain and compressed JSON lines. */
export async function encodeDocuments(
  store: Store,
  threads: ThreadPool,
  documents: BlobRef,
  { tokenizer, vocabSize }: TrainedTokenizer,
): Promise<EncodedShard> {
  const [bytes, file] = await Promise.all([
    readBlob(store, documents),
    sharedBlob(store, tokenizer),
  ]);
  const encoded =
    (await threads.run(
      'encode',
      { documents: bytes, sha256: tokenizer.sha256, tokenizer: file, vocabSize },
      beatsOf('documents'),
    )) ?? (await encodeByLibrary(bytes, file.toString('utf8'), vocabSize));
  const [tokens, index] = await Promise.all([
    putBlob(store, encoded.tokens),
    putBlob(store, encoded.index),
  ]);
  const { numDocuments, numTokens } = encoded;
  return { schemaVersion: 1, tokens, index, numDocuments, numTokens };
}

/** The way of every tokenizer: by its own library, which uses all cores. */
export async function encodeByLibrary(
  documents: Uint8Array,
  tokenizerJson: string,
  vocabSize: number,
): Promise<NonNullable<ThreadTasks['encode']['output']>> {
  const tokenizer = Tokenizer.fromString(tokenizerJson);
  const end = tokenizer.tokenToId(endOfText);
  if (end === null) {
    throw new Error(
      `tokenizer.json: found no token ${endOfText}, expected the special tokens of trainer/special_tokens.py.`,
    );
  }
  const packer = new Packer(tokenWidth(vocabSize), end);
  const lines = await readDocuments(documents);
  const inPieces = cutsWords(tokenizerJson);
  // Short batches, taken in turn: the encoder is parallel in itself, and each batch is progress to tell.
  let batch: { document: number; piece: string }[] = [];
  let batchUnits = 0;
  let ids: number[] = [];
  let done = 0;
  const finishUntil = (document: number): void => {
    for (; done < document; done += 1) {
      packer.add(lines[done]!.id, ids);
      ids = [];
    }
  };
  const encodeBatch = async (): Promise<void> => {
    const pieces = batch.map(({ piece }) => piece);
    const encodings = await inTurn(() =>
      tokenizer.encodeBatch(pieces, { addSpecialTokens: false }),
    );
    for (const [at, encoding] of encodings.entries()) {
      finishUntil(batch[at]!.document);
      for (const id of encoding.getIds()) ids.push(id);
    }
    batch = [];
    batchUnits = 0;
    await progress('documents', done, lines.length);
  };
  for (const [document, { text }] of lines.entries()) {
    for (const piece of inPieces ? piecesOf(text) : [text]) {
      batch.push({ document, piece });
      batchUnits += piece.length;
      if (batchUnits >= batchLength) await encodeBatch();
    }
  }
  if (batch.length > 0) await encodeBatch();
  finishUntil(lines.length);
  const index = packer.index.map((line) => `${canonicalJson(line)}\n`).join('');
  return {
    tokens: packer.bytes(),
    index: Buffer.from(index),
    numDocuments: lines.length,
    numTokens: packer.numTokens,
  };
}

let lastTurn: Promise<unknown> = Promise.resolve();

/** Runs one piece of native work after the other, first come, first served. */
async function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  const turn = lastTurn.then(work, work);
  lastTurn = turn;
  return turn;
}
