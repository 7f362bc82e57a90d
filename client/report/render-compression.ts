/** How well the tokenizer packs held-out text of each language, beside that of a base model. */
import type { Compression } from '../../config/compression.ts';
import { html, type Html } from './html.ts';
import { table } from './render-parts.ts';
import { count } from './words.ts';

type Packed = Compression['languages'][number];

export function renderCompression(compression: Compression): Html {
  const { header, rows } = compressionTable(compression);
  return html`<h3>Compression</h3>
    <p>Of held-out text, which the tokenizer never saw. ${referenceSentence(compression)}</p>
    ${table(
      header,
      rows.map(([language, ...figures]) => [language!, ...figures.map((number) => ({ number }))]),
    )}`;
}

/** The same figures on the page and in the terminal. */
export function compressionTable({ reference, languages }: Compression): {
  header: string[];
  rows: string[][];
} {
  const others = reference === null ? [] : ['its bytes a token', 'tokens against it'];
  return {
    header: [
      'language',
      'documents',
      'bytes a token',
      'characters a token',
      'tokens a word',
      'bits a token',
      ...others,
    ],
    rows: languages.map((packed) => [
      packed.language,
      count(packed.numDocuments),
      ratio(packed.bytes, packed.tokens),
      ratio(packed.characters, packed.tokens),
      packed.words === null || packed.words === 0 ? '–' : ratio(packed.tokens, packed.words),
      packed.bitsPerToken.toFixed(2),
      ...(packed.reference === undefined ? others.map(() => '–') : against(packed)),
    ]),
  };
}

function against({ bytes, tokens, reference }: Packed): string[] {
  const spent = tokens / Math.max(1, reference!.tokens) - 1;
  const sign = spent > 0 ? '+' : spent < 0 ? '−' : '';
  return [ratio(bytes, reference!.tokens), `${sign}${Math.abs(spent * 100).toFixed(1)} %`];
}

export function referenceSentence({ reference }: Compression): string {
  return reference === null
    ? 'No other tokenizer was here to compare with: once a base model is imported, the next corpus is.'
    : `Compared with the tokenizer of ${reference}.`;
}

const ratio = (what: number, each: number): string => (what / Math.max(1, each)).toFixed(2);
