/** What the HTTP process and an engine process say to each other over their IPC channel. */

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export type PromptInput =
  | { kind: 'text'; text: string }
  | { kind: 'ids'; ids: number[] }
  | { kind: 'chat'; messages: ChatMessage[] };

/** One request; its prompts are answered one after another, each as the choice of its index. */
export interface Job {
  prompts: PromptInput[];
  /** null: the default of the bundle. */
  maxTokens: number | null;
  temperature: number;
  topP: number;
  /** null: chosen at random. */
  seed: number | null;
  stop: string[];
  echo: boolean;
  /** Number of alternatives to tell for each token; null tells none, and no log-probabilities. */
  logprobs: number | null;
  /** Pieces as they come; false: one piece for each prompt. */
  stream: boolean;
}

/** Texts to turn into vectors. */
export interface EmbeddingJob {
  inputs: Exclude<PromptInput, { kind: 'chat' }>[];
}

/** Whether a job asks for vectors. */
export function asksVectors(job: Job | EmbeddingJob): job is EmbeddingJob {
  return 'inputs' in job;
}

export interface Alternative {
  bytes: Uint8Array;
  logprob: number;
}

/** A token of the answer (or, with echo, of the prompt), told only when log-probabilities are asked for. */
export interface TokenDetail {
  bytes: Uint8Array;
  /** null for the first token of an echoed prompt. */
  logprob: number | null;
  /** The most likely tokens at this place, best first. */
  top: Alternative[];
  /** Place in the text of the choice, in characters. */
  offset: number;
}

export type FinishReason = 'stop' | 'length';

export interface Piece {
  index: number;
  text: string;
  tokens: TokenDetail[];
  /** Not null in the last piece of a choice. */
  finishReason: FinishReason | null;
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

export interface ProbeOutcome {
  /** Largest absolute difference of a logit, or of a vector's number, to PyTorch's. */
  difference: number;
  tolerance: number;
}

export interface EngineStats {
  active: number;
  waiting: number;
  /** Forward passes since the start. */
  steps: number;
  cancelled: number;
}

export type ToEngine =
  | { type: 'generate'; id: number; job: Job | EmbeddingJob }
  | { type: 'cancel'; id: number }
  | { type: 'stats'; id: number };

export type FromEngine =
  | { type: 'ready'; probe: ProbeOutcome }
  | { type: 'unservable'; message: string; difference: number | null }
  | { type: 'piece'; id: number; piece: Piece }
  | { type: 'vectors'; id: number; first: number; vectors: Float32Array[] }
  | { type: 'end'; id: number; usage: Usage }
  | { type: 'refused'; id: number; status: number; message: string; param?: string; code?: string }
  | { type: 'stats'; id: number; stats: EngineStats };
