/** DOCX: the paragraphs and tables of the document, then its notes; what was deleted is not read. */
import { Parser } from 'htmlparser2';
import { memberText, openZip } from './zip.ts';
import { peek } from './bytes.ts';
import { isoDate } from './dates.ts';
import {
  checked,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

const oldOffice = Buffer.from('d0cf11e0a1b11ae1', 'hex');
const parts = ['word/document.xml', 'word/footnotes.xml', 'word/endnotes.xml'];

export async function* readDocx(
  _name: string,
  given: Bytes,
  { account }: Reading,
): AsyncGenerator<FileRecord> {
  const { head, bytes } = await peek(given, oldOffice.length);
  if (head.equals(oldOffice)) {
    throw new Refused('encrypted', 'needs a password, or is an old .doc; save it as plain .docx');
  }
  const zip = await openZip(bytes);
  const texts: string[] = [];
  for (const part of parts) {
    const xml = await memberText(zip, part, account);
    if (xml !== null) texts.push(wordText(xml.toString('utf8')));
    else if (part === parts[0]) throw new Refused('damaged', `found no ${part} inside`);
  }
  const core = await memberText(zip, 'docProps/core.xml', account);
  const said = (element: string): string =>
    core === null ? '' : elementText(core.toString('utf8'), element);
  const title = said('dc:title');
  // A template brings the day on which it was made; what was saved last is what is read.
  const date = isoDate(said('dcterms:modified')) ?? isoDate(said('dcterms:created'));
  const metadata: Metadata = { ...(title !== '' && { title }), ...(date !== null && { date }) };
  yield checked(null, texts.filter((text) => text !== '').join('\n\n'), metadata);
}

/** What stands between tags of a text run; deleted runs, field codes and repeats for old readers are passed over. */
function wordText(xml: string): string {
  const skipped = new Set(['w:del', 'w:moveFrom', 'mc:Fallback', 'w:instrText', 'w:delText']);
  const out: string[] = [];
  let skipping = 0;
  let inText = 0;
  const parser = new Parser(
    {
      onopentag(name) {
        if (skipped.has(name)) skipping += 1;
        else if (name === 'w:t') inText += 1;
        else if (skipping > 0) return;
        else if (name === 'w:tab') out.push('\t');
        else if (name === 'w:br' || name === 'w:cr') out.push('\n');
        else if (name === 'w:noBreakHyphen') out.push('-');
      },
      ontext(text) {
        if (inText > 0 && skipping === 0) out.push(text);
      },
      onclosetag(name) {
        if (skipped.has(name)) skipping -= 1;
        else if (name === 'w:t') inText -= 1;
        else if (name === 'w:p' && skipping === 0) out.push('\n');
        else if (name === 'w:tc' && skipping === 0) {
          // The paragraph's end inside a cell gives way to the cell's.
          if (out.at(-1) === '\n') out.pop();
          out.push('\t');
        } else if (name === 'w:tr' && skipping === 0) {
          if (out.at(-1) === '\t') out.pop();
          out.push('\n');
        }
      },
    },
    { xmlMode: true, decodeEntities: true },
  );
  parser.end(xml);
  return out.join('').trim();
}

/** The text of the first element of that name. */
export function elementText(xml: string, element: string): string {
  let depth = 0;
  let done = false;
  let text = '';
  const parser = new Parser(
    {
      onopentag(name) {
        if (name === element && !done) depth += 1;
      },
      ontext(part) {
        if (depth > 0) text += part;
      },
      onclosetag(name) {
        if (name !== element || depth === 0) return;
        depth -= 1;
        done = depth === 0;
      },
    },
    { xmlMode: true, decodeEntities: true },
  );
  parser.end(xml);
  return text.trim();
}
