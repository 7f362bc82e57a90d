/**
 * A corpus of any size out of real English text, the same one every time. A third of the documents are passages
 * as they stand; most of the rest are recombined of paragraphs from all over the text, with numbers drawn anew and
 * a few letters changed, so that neither phrases nor vocabulary merely repeat. Near duplicates, copies and
 * documents that the filters should refuse are planted.
 */
import { createWriteStream, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { once } from 'node:events';
import { gunzipSync } from 'node:zlib';
import { seeded } from '../../client/cli/chaos-schedule.ts';

/** What each document was made as; the peers' agreement is counted by it. */
export const documentKinds = [
  'passage',
  'recombined',
  'near duplicate',
  'copy',
  'short',
  'repeated lines',
  'repeated phrase',
  'bullets',
  'ellipses',
  'numbers',
  'symbols',
  'no common words',
] as const;
export type DocumentKind = (typeof documentKinds)[number];

/** The name is of the real text that it came from. */
interface Passage {
  source: string;
  text: string;
}

/** Paragraphs of the English part of a folder of public data, in the order of the files. */
export function readPassages(data: string): Passage[] {
  const folder = path.join(data, 'pretrain');
  const read = (name: string): string => {
    const bytes = readFileSync(path.join(folder, name));
    return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  };
  const texts: Passage[] = readdirSync(path.join(folder, 'novels'))
    .toSorted()
    .map((name) => ({ source: name, text: read(`novels/${name}`) }));
  texts.push({ source: 'wiki', text: read('wiki_demo.txt') });
  texts.push({ source: 'wikitext', text: read('wikitext2.valid.txt') });
  texts.push({ source: 'state of the union', text: read('state_union.csv.gz') });
  for (const name of ['c4_demo.jsonl', 'tw_law_en.jsonl.gz']) {
    for (const line of read(name).split('\n').filter(Boolean))
      texts.push({ source: name, text: (JSON.parse(line) as { text: string }).text });
  }
  return texts.flatMap(({ source, text }) =>
    paragraphsOf(text).map((one) => ({ source, text: one })),
  );
}

/** Of 200 to 2,000 characters each; shorter lines are joined with what follows. */
function paragraphsOf(text: string): string[] {
  const paragraphs: string[] = [];
  let open = '';
  for (const line of text.replaceAll('\r', '').split('\n')) {
    const trimmed = line.trim();
    if (trimmed === '' && open.length < 200) continue;
    if (trimmed !== '') open += open === '' ? trimmed : ` ${trimmed}`;
    if (open.length < 200) continue;
    for (let at = 0; at < open.length; at += 2000) paragraphs.push(open.slice(at, at + 2000));
    open = '';
  }
  if (open !== '') paragraphs.push(open);
  return paragraphs.map((one) => one.toWellFormed());
}

export interface EnglishDocument {
  key: number;
  kind: DocumentKind;
  /** Key of the document that it repeats; its own where it repeats none. */
  family: number;
  text: string;
}

/** Documents until their text has that many bytes. */
export function* englishDocuments(
  passages: readonly Passage[],
  bytes: number,
  seed: number,
): Generator<EnglishDocument> {
  const random = seeded(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const recent: { family: number; text: string }[] = [];
  let next = 0;
  let made = 0;
  for (let key = 0; made < bytes; key += 1) {
    const kind = kindAt(random());
    const original =
      kind === 'near duplicate' || kind === 'copy' ? recent[below(recent.length)] : undefined;
    const text =
      original === undefined
        ? textOf(kind)
        : kind === 'copy'
          ? original.text
          : edited(original.text);
    const family = original?.family ?? key;
    // A reservoir, so that duplicates lie far from their originals as well as near.
    if (kind === 'passage' || kind === 'recombined') {
      if (recent.length < 2000) recent.push({ family, text });
      else recent[below(2000)] = { family, text };
    }
    made += Buffer.byteLength(text);
    yield { key, kind, family, text };
  }

  function textOf(kind: DocumentKind): string {
    if (kind === 'passage') {
      const size = sizeOf();
      let text = '';
      const { source } = passages[next % passages.length]!;
      const again = next >= passages.length;
      while (text.length < size && passages[next % passages.length]!.source === source) {
        text += `${text === '' ? '' : '\n\n'}${passages[next % passages.length]!.text}`;
        next += 1;
      }
      // The text's end is reached: what comes again is another text by its order and its words.
      return again ? altered(recombined()) : text;
    }
    if (kind === 'recombined' || kind === 'near duplicate' || kind === 'copy')
      return altered(recombined());
    const sentence = passages[below(passages.length)]!.text;
    const words = sentence.split(' ');
    if (kind === 'short') return words.slice(0, 10 + below(25)).join(' ');
    if (kind === 'repeated lines')
      return Array.from({ length: 12 }, (_, line) =>
        line % 2 === 0
          ? sentence.slice(0, 160)
          : passages[below(passages.length)]!.text.slice(0, 80),
      ).join('\n');
    if (kind === 'repeated phrase') {
      const phrase = words.slice(0, 3).join(' ');
      return words.map((word, at) => (at % 3 === 0 ? `${phrase} ${word}` : word)).join(' ');
    }
    if (kind === 'bullets')
      return Array.from(
        { length: 20 },
        () => `- ${passages[below(passages.length)]!.text.slice(0, 60 + below(80))}`,
      ).join('\n');
    if (kind === 'ellipses')
      return Array.from(
        { length: 20 },
        (_, line) =>
          `${passages[below(passages.length)]!.text.slice(0, 60 + below(80)).trim()}${line % 2 === 0 ? '...' : '.'}`,
      ).join('\n');
    if (kind === 'numbers')
      return words
        .flatMap((word) => [word, String(below(1_000_000)), String(below(100))])
        .join(' ');
    if (kind === 'symbols')
      return words.map((word, at) => (at % 3 === 0 ? `# ${word}` : word)).join(' ');
    return Array.from({ length: 120 }, () => madeUpWord()).join(' ');
  }

  /** Median 3,000 characters, a tenth over 9,000, as web pages are. */
  function sizeOf(): number {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return Math.min(60_000, Math.max(500, Math.round(3000 * Math.exp(0.85 * normal))));
  }

  function recombined(): string {
    const size = sizeOf();
    let text = '';
    while (text.length < size)
      text += `${text === '' ? '' : '\n\n'}${passages[below(passages.length)]!.text}`;
    return text;
  }

  /** Digits are drawn anew, and one word in fifty gets another letter. */
  function altered(text: string): string {
    return text
      .replaceAll(/\d/g, () => String(below(10)))
      .replaceAll(/[a-z]{4,}/g, (word) => (random() < 0.02 ? misspelt(word) : word));
  }

  function misspelt(word: string): string {
    const at = 1 + below(word.length - 1);
    return word.slice(0, at) + String.fromCharCode(97 + below(26)) + word.slice(at + 1);
  }

  /** One word in three hundred is another, and a sentence is added. */
  function edited(text: string): string {
    const words = text.replaceAll(/[a-z]{4,}/g, (word) =>
      random() < 1 / 300 ? misspelt(word) : word,
    );
    return `${words}\n\nThis copy was made on day ${below(365)}.`;
  }

  function madeUpWord(): string {
    return Array.from({ length: 2 + below(3) }, () => {
      const at = below(12);
      return 'kmptrslnvzgd'[at]! + 'aeiou'[below(5)]!;
    }).join('');
  }
}

/** Shares of the kinds, in percent. */
const shares: [kind: DocumentKind, percent: number][] = [
  ['passage', 35],
  ['recombined', 43],
  ['near duplicate', 8],
  ['copy', 2],
  ['short', 3],
  ['repeated lines', 2],
  ['repeated phrase', 1],
  ['bullets', 1],
  ['ellipses', 1],
  ['numbers', 1],
  ['symbols', 1],
  ['no common words', 2],
];

function kindAt(share: number): DocumentKind {
  let left = share * 100;
  for (const [kind, percent] of shares) {
    left -= percent;
    if (left < 0) return kind;
  }
  return 'passage';
}

/** Writes documents as JSON lines to as many files as asked, in turn. */
export async function writeEnglish(
  documents: Iterable<EnglishDocument>,
  files: readonly string[],
): Promise<{ numDocuments: number; bytes: number; documents: Omit<EnglishDocument, 'text'>[] }> {
  const streams = files.map((file) => createWriteStream(file));
  const made: Omit<EnglishDocument, 'text'>[] = [];
  let bytes = 0;
  for (const { key, kind, family, text } of documents) {
    made.push({ key, kind, family });
    bytes += Buffer.byteLength(text);
    const stream = streams[key % streams.length]!;
    const line = `${JSON.stringify({ id: String(key), key, text })}\n`;
    if (!stream.write(line)) await once(stream, 'drain');
  }
  for (const stream of streams) {
    stream.end();
    await once(stream, 'close');
  }
  return { numDocuments: made.length, bytes, documents: made };
}
