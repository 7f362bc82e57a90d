/**
 * Text to tokens and back. Tokens of a byte-level tokenizer are byte strings, so an answer is their
 * concatenation, and a character split over tokens appears when its last byte is there.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from 'tokenizers';
import { z } from 'zod';
import type { ServingConfig } from '../config/manifests.ts';
import { badRequest } from './errors.ts';
import type { ChatMessage, PromptInput } from './protocol.ts';

const tokenizerSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.number().int(), content: z.string(), special: z.boolean() }))
    .default([]),
  decoder: z.looseObject({ type: z.string() }).nullable(),
  model: z.looseObject({
    vocab: z.union([
      z.record(z.string(), z.number().int()),
      // Of a unigram model: each with its score, in the order of the ids.
      z.array(z.tuple([z.string(), z.number()])),
    ]),
  }),
});

const noBytes = new Uint8Array();

export interface TextCodec {
  /** Token ids of a prompt; throws a ServingError (400) that says what is wrong with it. */
  encode(prompt: PromptInput): Promise<number[]>;
  /** Bytes of a token; a special token's name, for lists of tokens. */
  bytes(id: number): Uint8Array;
  /** Bytes that a token adds to the text: none for a special one. */
  textBytes(id: number): Uint8Array;
  isEnd(id: number): boolean;
}

/** Reads the tokenizer and the chat template of a bundle folder. */
export async function openTextCodec(folder: string, config: ServingConfig): Promise<TextCodec> {
  const source = await readFile(path.join(folder, 'tokenizer.json'), 'utf8');
  const layout = tokenizerSchema.parse(JSON.parse(source));
  if (layout.decoder?.type !== 'ByteLevel') {
    throw new Error(
      `tokenizer.json: found decoder ${layout.decoder?.type ?? 'none'}, expected ByteLevel. Export a model with a byte-level tokenizer.`,
    );
  }
  const tokenizer = Tokenizer.fromString(source);
  const { vocab } = layout.model;
  const table = tokenBytes(
    Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab),
  );
  const special = new Map<number, string>();
  for (const token of layout.added_tokens) {
    table[token.id] = Buffer.from(token.content);
    if (token.special) special.set(token.id, token.content);
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
    textBytes: (id) => (special.has(id) ? noBytes : (table[id] ?? noBytes)),
    isEnd: (id) => ends.has(id),
  };
}

/** A byte-level vocabulary writes each byte as a visible character; this turns that back. */
function tokenBytes(vocab: readonly (readonly [token: string, id: number])[]): Uint8Array[] {
  const byteOf = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const visible =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    byteOf.set(String.fromCodePoint(visible ? byte : next++), byte);
  }
  const table: Uint8Array[] = [];
  for (const [token, id] of vocab) {
    const bytes = [...token].map((character) => byteOf.get(character));
    table[id] = bytes.includes(undefined) ? Buffer.from(token) : Uint8Array.from(bytes as number[]);
  }
  return table;
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
