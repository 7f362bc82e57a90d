/** What clients may send: OpenAI's fields, checked, turned into a job. What we would not obey is refused, not ignored. */
import { z } from 'zod';
import { badRequest } from './errors.ts';
import type { ChatMessage, EmbeddingJob, Job, PromptInput } from './protocol.ts';

const maxPrompts = 128;
const maxStops = 16;
const maxLogprobs = 20;

const ignored = {
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  store: z.boolean().nullish(),
  service_tier: z.string().nullish(),
};

/** Accepted only at the value that changes nothing. */
const neutral = {
  n: z.literal(1, 'expected 1: one answer a prompt').nullish(),
  presence_penalty: z.literal(0, 'expected 0: penalties are not supported').nullish(),
  frequency_penalty: z.literal(0, 'expected 0: penalties are not supported').nullish(),
  logit_bias: z.strictObject({}, 'expected none: not supported').nullish(),
};

const common = {
  model: z.string().min(1),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  stop: z
    .union(
      [z.string().min(1), z.array(z.string().min(1)).max(maxStops)],
      `expected a string, or up to ${maxStops} strings, none empty`,
    )
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish() }).nullish(),
  ...ignored,
  ...neutral,
};

const tokenId = z.int().nonnegative();

const completionSchema = z.strictObject({
  ...common,
  prompt: z.union(
    [z.string(), z.array(z.string()), z.array(tokenId), z.array(z.array(tokenId))],
    'expected a string, a list of strings, a list of token ids, or a list of such lists',
  ),
  max_tokens: z.int().nonnegative().nullish(),
  echo: z.boolean().nullish(),
  logprobs: z
    .int()
    .min(0)
    .max(maxLogprobs, `expected a number of alternatives from 0 to ${maxLogprobs}`)
    .nullish(),
  best_of: z.literal(1, 'expected 1: one answer a prompt').nullish(),
  suffix: z.literal('', 'expected none: not supported').nullish(),
});

const maxInputs = 2048;

const embeddingSchema = z.strictObject({
  model: z.string().min(1),
  input: z.union(
    [z.string(), z.array(z.string()), z.array(tokenId), z.array(z.array(tokenId))],
    'expected a string, a list of strings, a list of token ids, or a list of such lists',
  ),
  encoding_format: z.enum(['float', 'base64'], 'expected float or base64').nullish(),
  dimensions: z.int().positive().nullish(),
  user: ignored.user,
});

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() });

const messageSchema = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([z.string(), z.array(textPart)], 'expected a string, or a list of text parts'),
  name: z.string().nullish(),
});

const chatSchema = z.strictObject({
  ...common,
  messages: z.array(messageSchema).min(1),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(maxLogprobs).nullish(),
});

export interface ParsedRequest {
  model: string;
  job: Job;
  includeUsage: boolean;
}

/** Body of POST /v1/completions. */
export function parseCompletion(body: unknown): ParsedRequest {
  const request = parse(completionSchema, body);
  const prompts = toPrompts(request.prompt);
  if (prompts.length === 0) throw badRequest('prompt: found an empty list', 'prompt');
  if (prompts.length > maxPrompts) {
    throw badRequest(
      `prompt: found ${prompts.length} prompts, expected at most ${maxPrompts} a request`,
      'prompt',
    );
  }
  const maxTokens = request.max_tokens ?? null;
  const echo = request.echo ?? false;
  if (maxTokens === 0 && !echo) {
    throw badRequest('max_tokens: found 0, expected 1 or more, or echo: true', 'max_tokens');
  }
  return {
    model: request.model,
    includeUsage: request.stream_options?.include_usage ?? false,
    job: {
      ...commonJob(request),
      prompts,
      maxTokens,
      echo,
      logprobs: request.logprobs ?? null,
    },
  };
}

/** Body of POST /v1/chat/completions. */
export function parseChat(body: unknown): ParsedRequest {
  const request = parse(chatSchema, body);
  const messages = request.messages.map(({ role, content }): ChatMessage => ({
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : content.map((part) => part.text).join(''),
  }));
  if (request.top_logprobs != null && request.logprobs !== true) {
    throw badRequest('top_logprobs: expected logprobs: true beside it', 'top_logprobs');
  }
  return {
    model: request.model,
    includeUsage: request.stream_options?.include_usage ?? false,
    job: {
      ...commonJob(request),
      prompts: [{ kind: 'chat', messages }],
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? null,
      echo: false,
      logprobs: request.logprobs === true ? (request.top_logprobs ?? 0) : null,
    },
  };
}

export interface ParsedEmbedding {
  model: string;
  job: EmbeddingJob;
  base64: boolean;
  /** Null: as many as the model makes. */
  dimensions: number | null;
}

/** Body of POST /v1/embeddings. */
export function parseEmbedding(body: unknown): ParsedEmbedding {
  const { model, input, encoding_format, dimensions } = parse(embeddingSchema, body);
  const inputs = toPrompts(input).filter((one) => one.kind !== 'chat');
  if (inputs.length === 0) throw badRequest('input: found an empty list', 'input');
  if (inputs.length > maxInputs) {
    throw badRequest(
      `input: found ${inputs.length} texts, expected at most ${maxInputs} a request`,
      'input',
    );
  }
  const base64 = encoding_format === 'base64';
  return { model, job: { inputs }, base64, dimensions: dimensions ?? null };
}

type Common = z.infer<z.ZodObject<typeof common>>;

function commonJob(
  request: Common,
): Pick<Job, 'temperature' | 'topP' | 'seed' | 'stop' | 'stream'> {
  const { stop } = request;
  return {
    temperature: request.temperature ?? 1,
    topP: request.top_p ?? 1,
    seed: request.seed ?? null,
    stop: stop == null ? [] : typeof stop === 'string' ? [stop] : stop,
    stream: request.stream ?? false,
  };
}

/** The forms in which OpenAI's clients give texts. */
function toPrompts(prompt: string | string[] | number[] | number[][]): PromptInput[] {
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt }];
  if (prompt.length > 0 && prompt.every((item) => typeof item === 'number')) {
    return [{ kind: 'ids', ids: prompt }];
  }
  return (prompt as (string | number[])[]).map((item) =>
    typeof item === 'string' ? { kind: 'text', text: item } : { kind: 'ids', ids: item },
  );
}

function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => {
    const place = issue.path.join('.');
    const message = issue.message.replace(/^Invalid input: /, '');
    return place === '' ? message : `${place}: ${message}`;
  });
  const param = parsed.error.issues[0]?.path[0];
  throw badRequest(faults.join('; '), param === undefined ? undefined : String(param));
}
