/**
 * Text to tokens and back. Tokens are byte strings, so an answer is their concatenation, and a character
 * split over tokens appears when its last byte is there.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from 'tokenizers';
import { z } from 'zod';
import type { ServingConfig } from '../config/manifests.ts';
import { tokenBytes } from '../config/token-bytes.ts';
import { badRequest } from './errors.ts';
import type { ChatMessage, PromptInput } from './protocol.ts';

const tokenizerSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.number().int(), content: z.string(), special: z.boolean() }))
    .default([]),
  decoder: z.looseObject({ type: z.string() }).nullish(),
  model: z.looseObject({
    vocab: z.union([
      z.record(z.string(), z.number().int()),
      // Of a unigram model: each with its score, in the order of the ids.
      z.array(z.tuple([z.string(), z.number()])),
    ]),
  }),
});

const noBytes = new Uint8Array();
const spaceByte = 0x20;

export interface TextCodec {
  /** Token ids of a prompt; throws a ServingError (400) that says what is wrong with it. */
  encode(prompt: PromptInput): Promise<number[]>;
  /** Bytes of a token; a special token's name, for lists of tokens. */
  bytes(id: number): Uint8Array;
  /**
   * Bytes that a token adds to the text after the one before it (null: it is the first): none for a special one, and
   * without the space that the tokenizer itself puts before a text.
   */
  textBytes(id: number, before: number | null): Uint8Array;
  isEnd(id: number): boolean;
}

/** Reads the tokenizer and the chat template of a bundle folder. */
export async function openTextCodec(folder: string, config: ServingConfig): Promise<TextCodec> {
  const source = await readFile(path.join(folder, 'tokenizer.json'), 'utf8');
  const layout = tokenizerSchema.parse(JSON.parse(source));
  const written = tokenBytes(layout.decoder);
  if (written === null) {
    throw new Error(
      `tokenizer.json: found decoder ${layout.decoder?.type ?? 'none'}, expected ByteLevel or that of SentencePiece’s byte fallback. ` +
        'Export a model whose tokens are bytes.',
    );
  }
  const tokenizer = Tokenizer.fromString(source);
  const { vocab } = layout.model;
  const table: Uint8Array[] = [];
  const entries = Array.isArray(vocab)
    ? vocab.map(([token], id): [string, number] => [token, id])
    : Object.entries(vocab);
  for (const [token, id] of entries) table[id] = written.bytesOf(token);
  const added = new Set<number | null>();
  const special = new Map<number, string>();
  for (const token of layout.added_tokens) {
    const { id, content } = token;
    added.add(id);
    // One that is ordinary text has its spaces written as those of any piece, such as Gemma's runs of them.
    const isPiece = written.kind === 'pieces' && !token.special;
    table[id] = isPiece ? written.bytesOf(content) : Buffer.from(content);
    if (token.special) special.set(id, content);
  }
  const idOf = (token: string, field: string): number => {
    const id = tokenizer.tokenToId(token);
    if (id === null) {
      throw new Error(
        `serving.json ${field}: tokenizer.json has no token ${JSON.stringify(token)}`,
      );
    }
    return id;
  };
  const bos = idOf(config.bosToken, 'bosToken');
  const ends = new Set(config.eosTokens.map((token) => idOf(token, 'eosTokens')));
  const template = config.chat
    ? new Template(await readFile(path.join(folder, 'chat_template.jinja'), 'utf8'))
    : null;

  async function encodeText(text: string): Promise<number[]> {
    const encoding = await tokenizer.encode(text, null, { addSpecialTokens: false });
    return encoding.getIds();
  }

  // Asked of the tokenizer, for there is more than one way to make it put a space where none was written.
  const putsSpace = async (before: string, at: number): Promise<boolean> =>
    written.kind === 'pieces' && table[(await encodeText(`${before}a`))[at]!]?.[0] === spaceByte;
  const [atStart, afterAdded] = [await putsSpace('', 0), await putsSpace(config.bosToken, 1)];
  const spaceIsPut = (before: number | null): boolean =>
    before === null || before === bos ? atStart : afterAdded && added.has(before);

  async function encodeChat(messages: ChatMessage[]): Promise<number[]> {
    if (template === null) {
      throw badRequest(
        'this is a base model and has no chat template: use POST /v1/completions, or deploy a model with goal assistant',
        'messages',
        'chat_not_supported',
      );
    }
    for (const [index, { content }] of messages.entries()) {
      const control = [...special.values()].find((token) => content.includes(token));
      if (control !== undefined) {
        throw badRequest(
          `messages[${index}].content: found the control token ${control}, which only the chat template may write. Take it out.`,
          'messages',
        );
      }
    }
    let text: string;
    try {
      text = template.render({
        messages,
        add_generation_prompt: true,
        bos_token: config.bosToken,
        eos_token: config.eosTokens[0] ?? '',
      });
    } catch (error) {
      throw badRequest(
        `messages: the chat template of the model refused them (${(error as Error).message})`,
        'messages',
      );
    }
    return encodeText(text);
  }

  return {
    async encode(prompt) {
      if (prompt.kind === 'chat') return encodeChat(prompt.messages);
      if (prompt.kind === 'text') {
        const ids = await encodeText(prompt.text);
        return ids[0] === bos ? ids : [bos, ...ids];
      }
      const wrong = prompt.ids.find((id) => id >= config.vocabSize);
      if (wrong !== undefined) {
        throw badRequest(
          `prompt: found token id ${wrong}, expected ids below the vocabulary's ${config.vocabSize}`,
          'prompt',
        );
      }
      return prompt.ids;
    },
    bytes: (id) => table[id] ?? noBytes,
    textBytes(id, before) {
      if (special.has(id)) return noBytes;
      const bytes = table[id] ?? noBytes;
      return bytes[0] === spaceByte && spaceIsPut(before) ? bytes.subarray(1) : bytes;
    },
    isEnd: (id) => ends.has(id),
  };
}

export interface TextStream {
  /** Text that is certain after these bytes: whole characters, nothing that may begin a stop sequence. */
  push(bytes: Uint8Array): string;
  /** What was held back; call it once, when no more tokens come. */
  end(): string;
  /** True when a stop sequence has appeared; the text ends before it. */
  readonly stopped: boolean;
}

/** Turns the bytes of an answer into text, up to the first stop sequence. */
export function openTextStream(stop: string[]): TextStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let held = '';
  let stopped = false;
  function release(more: string, all: boolean): string {
    held += more;
    const found = stop.map((word) => held.indexOf(word)).filter((place) => place >= 0);
    if (found.length > 0) {
      stopped = true;
      return held.slice(0, Math.min(...found));
    }
    const keep = all ? 0 : longestBeginning(held, stop);
    const text = held.slice(0, held.length - keep);
    held = held.slice(held.length - keep);
    return text;
  }
  return {
    push: (bytes) => (stopped ? '' : release(decoder.decode(bytes, { stream: true }), false)),
    end: () => (stopped ? '' : release(decoder.decode(), true)),
    get stopped() {
      return stopped;
    },
  };
}

/** Length of the longest end of `text` that is the beginning of a stop sequence. */
function longestBeginning(text: string, stop: string[]): number {
  let longest = 0;
  for (const word of stop) {
    for (let length = Math.min(word.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(word.slice(0, length))) longest = length;
    }
  }
  return longest;
}
