/** Reads the evaluation sets that a pipeline file names, so that what they ask is not trained on. */
import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import { Context } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { evaluationTexts, type EvaluationText } from '../corpus/contamination.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { readText } from '../corpus/read-text.ts';
import { putBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import type { ThreadPool } from './preprocess-threads.ts';

const maxBytes = 256 * 1024 * 1024;

export interface EvaluationSetsRead {
  grams: BlobRef;
  numTexts: number;
  numRecords: number;
  /** Records of too few words to tell them from what anybody says. */
  numTooShort: number;
}

/** A blob with the grams of all files that the paths and globs match, in the order of their names. */
export async function gramsOfSets(
  store: Store,
  threads: ThreadPool,
  baseDir: string,
  patterns: readonly string[],
): Promise<EvaluationSetsRead> {
  const files = new Set<string>();
  for (const pattern of patterns) {
    const found: string[] = [];
    for await (const file of glob(pattern, { cwd: baseDir })) {
      const place = path.resolve(baseDir, file);
      if ((await stat(place)).isFile()) found.push(place);
    }
    if (found.length === 0) {
      throw new CorpusError(
        `data.decontaminate: found no file ${pattern} (from ${baseDir}), expected an evaluation set ` +
          '(.json, .jsonl, .csv or .txt, also .gz). Correct the path.',
      );
    }
    for (const file of found) files.add(file);
  }
  const texts: EvaluationText[] = [];
  const context = Context.current();
  const inOrder = [...files].toSorted(byCodeUnits);
  for (const [index, file] of inOrder.entries()) {
    const onPiece = (): void =>
      context.heartbeat({ kind: 'evaluation sets', done: index, total: inOrder.length });
    const text = await readText(file, { field: 'data.decontaminate', maxBytes, onPiece });
    for (const said of evaluationTexts(path.basename(file), text)) texts.push(said);
    await progress('evaluation sets', index + 1, inOrder.length);
  }
  const { packed, numRecords, numTooShort } = await threads.run(
    'grams',
    { texts },
    (done, total) => {
      context.heartbeat({ kind: 'evaluation texts', done, total });
    },
  );
  return { grams: await putBlob(store, packed), numTexts: texts.length, numRecords, numTooShort };
}
