/** `temper datasets inspect`: samples of what was kept and what was dropped, or every dropped document. */
import type { ListedDrop } from '../datasets/drops.ts';
import { inspectDataset, listDropped, type Inspection } from '../datasets/inspect.ts';
import { ClientError } from '../errors.ts';
import { plural, reasonWords, size } from '../report/words.ts';
import { openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { count, plain } from './text.ts';

export interface InspectFlags extends CommonOptions {
  reason?: string;
  dropped?: boolean;
  kept?: boolean;
  number: number | 'all';
  seed: number;
}

export async function inspectCommand(reference: string, flags: InspectFlags): Promise<number> {
  const { reason, dropped = false, kept = false, number, seed } = flags;
  if (dropped && kept) {
    throw new ClientError('input', 'found --dropped and --kept, expected one of them, or neither.');
  }
  if (kept && reason !== undefined) {
    throw new ClientError('input', '--reason says why a document was dropped: leave --kept out.');
  }
  const { store } = await openContext();
  if (number === 'all') {
    if (!dropped && reason === undefined) {
      throw new ClientError(
        'input',
        '--number all lists what was dropped: add --dropped, or --reason. `npx temper datasets export NAME FOLDER --cleaned` writes all that was kept.',
      );
    }
    const request = { reference, ...(reason !== undefined && { reason }) };
    return await printAll(await listDropped(store, request), flags);
  }
  const inspection = await inspectDataset(store, {
    reference,
    number,
    seed,
    ...(dropped && { only: 'dropped' as const }),
    ...(kept && { only: 'kept' as const }),
    ...(reason !== undefined && { reason }),
  });
  if (flags.json === true) printJson(inspection);
  sayHead(inspection, flags);
  if (inspection.kept.length > 0) {
    say(flags);
    const all = inspection.corpus?.kept ?? inspection.kept.length;
    say(flags, stdoutPaint()('bold', `kept: ${some(inspection.kept.length, all)}`));
    for (const { source, text } of inspection.kept) sayDocument(source, '', text, flags);
  }
  for (const { reason: why, stage, count: total, samples } of inspection.dropped) {
    say(flags);
    const by = stage === 'ingest' ? 'not read' : 'dropped';
    const title = `${by}, ${reasonWords(why, stage)}: ${some(samples.length, total)}`;
    say(flags, stdoutPaint()('bold', title));
    for (const drop of samples)
      sayDocument(drop.source, detailOf(drop), drop.sample ?? null, flags);
  }
  const isCut = inspection.dropped.some(({ count: total, samples }) => samples.length < total);
  if (isCut) {
    say(flags);
    say(flags, `Every one: npx temper datasets inspect ${reference} --dropped --number all`);
  }
  return ExitCode.ok;
}

function some(shown: number, all: number): string {
  return shown < all ? `${count(shown)} of ${plural(all, 'document')}` : plural(all, 'document');
}

function sayHead(
  { dataset, corpus, notes }: Pick<Inspection, 'dataset' | 'corpus' | 'notes'>,
  flags: CommonOptions,
): void {
  const read = `${plural(dataset.numDocuments, 'document')} read, ${size(dataset.bytes)} of text`;
  const left =
    corpus === null ? '' : `; ${count(corpus.kept)} kept in corpus ${corpus.stage.slice(0, 12)}`;
  say(flags, `${dataset.name}@${dataset.version}: ${read}${left}`);
  for (const note of notes) say(flags, note);
}

function detailOf({ detail, survivor }: { detail: string; survivor?: string | undefined }): string {
  return survivor === undefined ? detail : `kept instead: ${survivor}`;
}

function sayDocument(
  source: string,
  detail: string,
  text: string | null,
  flags: CommonOptions,
): void {
  const paint = stdoutPaint();
  say(flags, `  ${plain(source)}${detail === '' ? '' : paint('dim', `  ${plain(detail)}`)}`);
  if (text !== null) say(flags, `    ${plain(text)}`);
}

/** A line of a document as it is read: a list of any length is never held. */
async function printAll(
  listed: Omit<Inspection, 'kept' | 'dropped'> & { drops: AsyncIterable<ListedDrop> },
  flags: InspectFlags,
): Promise<number> {
  const { drops, ...head } = listed;
  if (flags.json === true) {
    await write(`${JSON.stringify(head).slice(0, -1)},"dropped":[`);
    let isFirst = true;
    for await (const drop of drops) {
      await write(`${isFirst ? '' : ','}${JSON.stringify(drop)}`);
      isFirst = false;
    }
    await write(']}\n');
    return ExitCode.ok;
  }
  sayHead(head, flags);
  for await (const drop of drops)
    await write(`${plain(drop.source)}  ${drop.reason}  ${plain(detailOf(drop))}\n`);
  return ExitCode.ok;
}

/** Waits where the reader is slower than the store. */
async function write(text: string): Promise<void> {
  if (process.stdout.write(text)) return;
  await new Promise<void>((resolve) => process.stdout.once('drain', () => resolve()));
}
