/** Our pieces in OpenAI's shapes: completions and chat completions, whole and in chunks, and embeddings. */
import type { ServedBundle } from './endpoint.ts';
import { badRequest } from './errors.ts';
import type { FinishReason, Piece, TokenDetail, Usage } from './protocol.ts';
import type { ParsedEmbedding } from './requests.ts';

/** What every object of one answer repeats. */
export interface AnswerHead {
  id: string;
  /** Unix time, seconds. */
  created: number;
  model: string;
  served: ServedBundle;
  /** Whether log-probabilities were asked for. */
  logprobs: boolean;
}

export interface Shape {
  whole(head: AnswerHead, pieces: Piece[], usage: Usage): unknown;
  /** Chunks before any piece. */
  opening(head: AnswerHead): unknown[];
  chunk(head: AnswerHead, piece: Piece): unknown;
  /** The last chunk, when usage was asked for. */
  usage(head: AnswerHead, usage: Usage): unknown;
}

function base(head: AnswerHead, object: string): Record<string, unknown> {
  const { id, created, model, served } = head;
  return { id, object, created, model, system_fingerprint: served.bundle };
}

function counts({ promptTokens, completionTokens }: Usage): Record<string, number> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A token as text; one that holds a part of a character as its bytes, so that no two tokens look alike. */
export function tokenText(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
  }
}

function completionLogprobs(tokens: TokenDetail[]): unknown {
  return {
    tokens: tokens.map((token) => tokenText(token.bytes)),
    token_logprobs: tokens.map((token) => token.logprob),
    top_logprobs: tokens.map(topOf),
    text_offset: tokens.map((token) => token.offset),
  };
}

/** The most likely tokens and the one chosen. */
function topOf(token: TokenDetail): Record<string, number> | null {
  if (token.logprob === null) return null;
  const top: Record<string, number> = {};
  for (const { bytes, logprob } of [...token.top, { bytes: token.bytes, logprob: token.logprob }]) {
    // Ids beyond the tokenizer's vocabulary have no bytes; the likelier of them stands for all.
    top[tokenText(bytes)] ??= logprob;
  }
  return top;
}

function chatLogprobs(tokens: TokenDetail[]): unknown {
  const entry = (bytes: Uint8Array, logprob: number | null): Record<string, unknown> => ({
    token: tokenText(bytes),
    logprob,
    bytes: Array.from(bytes),
  });
  return {
    content: tokens.map((token) => ({
      ...entry(token.bytes, token.logprob),
      top_logprobs: token.top.map((other) => entry(other.bytes, other.logprob)),
    })),
    refusal: null,
  };
}

/** POST /v1/completions. */
export const completionShape: Shape = {
  whole: (head, pieces, usage) => ({
    ...base(head, 'text_completion'),
    choices: pieces.map((piece) => completionChoice(head, piece)),
    usage: counts(usage),
  }),
  opening: () => [],
  chunk: (head, piece) => ({
    ...base(head, 'text_completion'),
    choices: [completionChoice(head, piece)],
  }),
  usage: (head, usage) => ({
    ...base(head, 'text_completion'),
    choices: [],
    usage: counts(usage),
  }),
};

function completionChoice(head: AnswerHead, piece: Piece): unknown {
  return {
    index: piece.index,
    text: piece.text,
    logprobs: head.logprobs ? completionLogprobs(piece.tokens) : null,
    finish_reason: piece.finishReason,
  };
}

/** POST /v1/chat/completions. */
export const chatShape: Shape = {
  whole: (head, pieces, usage) => ({
    ...base(head, 'chat.completion'),
    choices: pieces.map((piece) => ({
      index: piece.index,
      message: { role: 'assistant', content: piece.text, refusal: null },
      logprobs: head.logprobs ? chatLogprobs(piece.tokens) : null,
      finish_reason: piece.finishReason,
    })),
    usage: counts(usage),
  }),
  opening: (head) => [
    {
      ...base(head, 'chat.completion.chunk'),
      choices: [delta(0, { role: 'assistant', content: '' }, null, null)],
    },
  ],
  chunk: (head, piece) => ({
    ...base(head, 'chat.completion.chunk'),
    choices: [
      delta(
        piece.index,
        piece.text === '' ? {} : { content: piece.text },
        head.logprobs ? chatLogprobs(piece.tokens) : null,
        piece.finishReason,
      ),
    ],
  }),
  usage: (head, usage) => ({
    ...base(head, 'chat.completion.chunk'),
    choices: [],
    usage: counts(usage),
  }),
};

function delta(
  index: number,
  content: Record<string, string>,
  logprobs: unknown,
  finishReason: FinishReason | null,
): unknown {
  return { index, delta: content, logprobs, finish_reason: finishReason };
}

/** POST /v1/embeddings. */
export function embeddingList(
  { model, base64, dimensions }: ParsedEmbedding,
  vectors: readonly Float32Array[],
  { promptTokens }: Usage,
): unknown {
  const made = vectors[0]?.length ?? 0;
  if (dimensions !== null && dimensions !== made) {
    throw badRequest(
      `dimensions: found ${dimensions}, expected ${made} or none: the model makes no shorter vectors`,
      'dimensions',
    );
  }
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: base64 ? base64Of(vector) : Array.from(vector),
    })),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

/** The numbers as little-endian float32, whatever the machine. */
function base64Of(vector: Float32Array): string {
  const bytes = Buffer.alloc(4 * vector.length);
  for (const [place, number] of vector.entries()) bytes.writeFloatLE(number, 4 * place);
  return bytes.toString('base64');
}
