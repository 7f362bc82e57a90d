/**
 * Errors of reading a document, without its name: a path or an address may tell what a log and a history must not keep.
 * What stands there is a short name that only the holder of the stack's data key can make.
 */
import { Context } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import type { OpenSource, SourceItem } from '../corpus/sources.ts';
import type { DataKeys } from '../registry/data-keys.ts';

/** The items of a source; what reading one of its files throws names neither file nor text. */
export async function* withoutNames(
  items: AsyncIterable<SourceItem>,
  { name, files, single }: OpenSource,
  at: { done: number },
  keys: DataKeys | undefined,
): AsyncGenerator<SourceItem> {
  try {
    yield* items;
  } catch (error) {
    if (Context.current().cancellationSignal.aborted) throw error;
    // Ours speak of the pipeline file alone.
    if (error instanceof Error && error.name in FailureType) throw error;
    const file = files[at.done];
    const place = single || file === undefined ? name : `${name}/${file.path}`;
    throw unnamed(error, name, keys?.nameOf(place) ?? null);
  }
}

function unnamed(error: unknown, source: string, document: string | null): Error {
  const { name, code } = error as { name?: string; code?: string };
  const which = document === null ? 'a document' : `document ${document}`;
  const what = code ?? (name === undefined || name === 'Error' ? 'a fault' : name);
  const told = new Error(
    `data.sources: ${what} while ${which} of ${source} was read, expected to read it to its end. ` +
      'It is tried again; if it stays, see the disk or the store that it lies on.',
  );
  if (name !== undefined) told.name = name;
  return told;
}
