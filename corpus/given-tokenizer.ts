/**
 * Takes over a tokenizer.json that was made elsewhere: checks that it knows every byte and gives each text back whole,
 * and adds the special tokens that part documents and chats behind its own. The same file gives the same bytes.
 */
import { Tokenizer } from 'tokenizers';
import { z } from 'zod';
import { tokenBytes, type TokenBytes } from '../config/token-bytes.ts';
import { CorpusError } from './errors.ts';
import { endOfText } from './pack.ts';

/** The tokens of chats: of our own form, or those of ChatML in their place, as trainer/chat.py knows them. */
const chatTokens = ['<|user|>', '<|assistant|>', '<|end|>'];
const chatMlTokens = ['<|im_start|>', '<|im_end|>'];

const addedSchema = z.looseObject({ id: z.number().int().nonnegative(), content: z.string() });
const layoutSchema = z.looseObject({
  added_tokens: z.array(addedSchema).default([]),
  normalizer: z.looseObject({ type: z.string() }).nullish(),
  pre_tokenizer: z.looseObject({ type: z.string() }).nullish(),
  post_processor: z.unknown(),
  decoder: z
    .looseObject({
      type: z.string(),
      decoders: z.array(z.looseObject({ type: z.string() })).optional(),
    })
    .nullish(),
  model: z.looseObject({
    type: z.string().default('BPE'),
    dropout: z.number().nullish(),
    byte_fallback: z.boolean().nullish(),
    vocab: z.union([
      z.record(z.string(), z.number().int().nonnegative()),
      z.array(z.tuple([z.string(), z.number()])),
    ]),
  }),
});
type Layout = z.infer<typeof layoutSchema>;

/** Of letters; pieces have none. What stands around a text is the business of whoever reads it: documents are parted, chats have their template. */
const plainProcessor = {
  type: 'ByteLevel',
  add_prefix_space: true,
  trim_offsets: false,
  use_regex: true,
};

/**
 * Texts that must come back as they were: scripts, spaces, line ends, digits, signs beyond the first plane. A space before
 * the first word is not asked of pieces, for some put one there only where there is none; no document begins with one.
 */
const probes = [
  'The year 1945 was one of growth; see § 12(b) — “quoted”.',
  '  two spaces,\ttabs\nand\r\nline ends  \n\n',
  'Übermaß, naïve, Ελλάδα, Москва, שלום, سلام, ไทย, 한국어',
  '民國113年，臺灣的統計資料；简体中文。日本語も。',
  'a🙂b\u{1F468}\u200d\u{1F469}',
  'Mixed CASE and UPPER',
  '<0x41> is no byte, and this is one: \u0001',
];

export interface AdoptedTokenizer {
  /** The tokenizer.json. */
  tokenizer: string;
  vocabSize: number;
}

/** The file as it is used here, and how many tokens it has. Throws a CorpusError that says why it cannot be. */
export async function adoptTokenizer(text: string, place: string): Promise<AdoptedTokenizer> {
  const refuse = (found: string, expected: string, hint = 'Give another tokenizer.json'): never => {
    throw new CorpusError(
      `tokenizer.from: ${place}: found ${found}, expected ${expected}. ${hint}, or remove tokenizer to train one.`,
    );
  };
  const parsed = layoutSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    return refuse(
      'no tokenizer in it',
      'the tokenizer.json of Hugging Face’s tokenizers',
      'A vocab.json, merges.txt or .model file is converted by AutoTokenizer.from_pretrained(…).save_pretrained(…)',
    );
  }
  const layout = parsed.data;
  const { decoder, model } = layout;
  const written = tokenBytes(decoder);
  if (written === null) {
    return refuse(
      `the decoder ${decoderName(layout)}`,
      'ByteLevel, or that of SentencePiece’s byte fallback (Sequence of Replace, ByteFallback, Fuse and, where it puts a space before a text, Strip): ' +
        'then every text can be written, and a token is bytes to the server',
    );
  }
  if ((model.dropout ?? 0) > 0) {
    return refuse(`a dropout of ${model.dropout}`, 'none: the same text must give the same tokens');
  }
  if (written.kind === 'pieces' && model.byte_fallback !== true) {
    return refuse(
      'a model without byte_fallback',
      'byte_fallback: else some text would be unknown',
    );
  }
  const vocab = idsOf(layout);
  const missing = written.bytes.filter((token) => !vocab.has(token)).length;
  if (missing > 0) {
    return refuse(`${missing} bytes without a token`, 'all 256: else some text would be unknown');
  }
  const ids = new Set(vocab.values());
  // Not spread into Math.max: each id would be an argument, and the stack holds fewer than some vocabularies have.
  const size = [...ids].reduce((most, id) => Math.max(most, id), -1) + 1;
  if (ids.size !== size) {
    return refuse(`${ids.size} ids up to ${size - 1}`, 'ids without gaps, each of one token');
  }
  const adopted = withSpecials(layout, vocab, size, written);
  const json = JSON.stringify(adopted);
  const tokenizer = load(json);
  if (tokenizer === null) {
    return refuse('what the tokenizers library cannot load', 'a tokenizer.json of its format');
  }
  for (const text of probes) {
    const probe = written.kind === 'pieces' ? text.trimStart() : text;
    const encoding = await tokenizer.encode(probe, null, { addSpecialTokens: false });
    const back = await tokenizer.decode(encoding.getIds(), false);
    if (back !== probe) {
      return refuse(
        `that ${JSON.stringify(probe.slice(0, 40))} comes back as ${JSON.stringify(back.slice(0, 40))}`,
        'each text to come back as it was',
      );
    }
  }
  return { tokenizer: json, vocabSize: tokenizer.getVocabSize(true) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function decoderName({ decoder }: Layout): string {
  const steps = (decoder?.decoders ?? []).map(({ type }) => type);
  return `${decoder?.type ?? 'none'}${steps.length === 0 ? '' : ` of ${steps.join(', ')}`}`;
}

/** The id of each token, added ones included. */
function idsOf({ model: { vocab }, added_tokens }: Layout): Map<string, number> {
  const ids = new Map(
    Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab),
  );
  for (const { content, id } of added_tokens) ids.set(content, id);
  return ids;
}

/** With the tokens that part documents and chats, whole texts, and nothing put around them. */
function withSpecials(
  layout: Layout,
  vocab: Map<string, number>,
  size: number,
  { kind }: TokenBytes,
): Layout {
  const known = new Set(layout.added_tokens.map(({ content }) => content));
  const chats = chatMlTokens.every((token) => vocab.has(token)) ? chatMlTokens : chatTokens;
  let next = size;
  const added = [endOfText, ...chats]
    .filter((token) => !known.has(token))
    .map((content) => ({
      id: vocab.get(content) ?? next++,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }));
  return {
    ...layout,
    truncation: null,
    padding: null,
    added_tokens: [...layout.added_tokens, ...added].toSorted((a, b) => a.id - b.id),
    post_processor: kind === 'letters' ? plainProcessor : null,
  };
}

function load(json: string): Tokenizer | null {
  try {
    return Tokenizer.fromString(json);
  } catch {
    return null;
  }
}
