/**
 * Records of instruction and preference data, in the shapes that are about, to one canonical form: messages of
 * system, user and assistant in turn. Tool calls and their results become text, as Hermes and Qwen write them.
 */
import type { Refusal } from './decode.ts';

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}
export type Chat =
  | { kind: 'chat'; messages: Message[] }
  | { kind: 'preference'; prompt: Message[]; chosen: Message[]; rejected: Message[] }
  /** An answer that was called good or bad by itself. */
  | { kind: 'judged'; prompt: Message[]; answer: Message[]; good: boolean };

type Fields = Record<string, unknown>;

/** What a record says; one of self-instruct has several instances. */
export function chatsOf(record: unknown): (Chat | Refusal)[] {
  if (!isFields(record)) return [leftOut('unknown_shape', 'found no object')];
  try {
    if (Array.isArray(record['instances'])) {
      const { instruction, instances } = record;
      return instances.map((instance) =>
        isFields(instance)
          ? chatOf({ ...instance, instruction })
          : leftOut('unknown_shape', 'found no instance'),
      );
    }
    return [chatOf(record)];
  } catch (error) {
    if (error instanceof ShapeError) return [leftOut(error.reason, error.message)];
    throw error;
  }
}

class ShapeError extends Error {
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

function chatOf(found: Fields): Chat {
  const record = spreadInput(found);
  const { chosen, rejected } = record;
  const before = systemOf(record);
  if (typeof chosen === 'string' && typeof rejected === 'string' && /^\s*Human:/.test(chosen))
    return preference(before, transcript(chosen), transcript(rejected));
  if (chosen !== undefined && rejected !== undefined) {
    const [better, worse] = [turnsOf(chosen, 'assistant'), turnsOf(rejected, 'assistant')];
    // Answers that begin with a question are whole chats: what stands beside them says it again.
    const isWhole = better.find(({ role }) => role !== 'system')?.role === 'user';
    return preference(isWhole ? before : promptOf(record, before).prompt, better, worse);
  }
  const { prompt, answer } = promptOf(record, before);
  const whole = inTurn([...prompt, ...answer]);
  const good = judgementOf(record);
  if (good === null) return { kind: 'chat', messages: whole };
  return { kind: 'judged', prompt: whole.slice(0, -1), answer: whole.slice(-1), good };
}

/** OpenAI's form of preferences: what leads up to them lies in a field of its own. */
function spreadInput(record: Fields): Fields {
  const { input, preferred_output: chosen, non_preferred_output: rejected, ...rest } = record;
  if (!isFields(input) || chosen === undefined || rejected === undefined) return record;
  return { ...rest, ...input, chosen, rejected };
}

/** Whether an answer was called good; null where nobody called it anything: `label` has other meanings too. */
function judgementOf({ label, prompt, completion }: Fields): boolean | null {
  if (typeof label === 'boolean') return label;
  const isKto = prompt !== undefined && completion !== undefined;
  return isKto && (label === 0 || label === 1) ? label === 1 : null;
}

/** The system message that the fields of a record make, tools among it; none where they say nothing. */
function systemOf(record: Fields): Message[] {
  const parts = [
    record['system'],
    record['system_prompt'],
    toolsText(record['tools'] ?? record['functions']),
  ];
  const content = parts
    .filter((part): part is string => typeof part === 'string' && part.trim() !== '')
    .join('\n\n');
  return content === '' ? [] : [{ role: 'system', content }];
}

/** The parts of a record that lead up to an answer, and the answer where it has one. */
function promptOf(
  record: Fields,
  before: readonly Message[],
): { prompt: Message[]; answer: Message[] } {
  const turns = record['messages'] ?? record['conversations'] ?? record['conversation'];
  if (Array.isArray(turns)) return { prompt: [...before, ...turnsOf(turns, 'user')], answer: [] };
  const said = record['output'] ?? record['completion'] ?? record['response'] ?? record['answer'];
  const answer = areTurns(said) ? turnsOf(said, 'assistant') : answerOf(text(said));
  const first = text(record['instruction'] ?? record['question'] ?? record['prompt']);
  if (first === null) {
    if (Array.isArray(record['prompt']))
      return { prompt: [...before, ...turnsOf(record['prompt'], 'user')], answer };
    throw new ShapeError(
      'unknown_shape',
      `found the fields ${Object.keys(record).slice(0, 8).join(', ') || 'none'}, expected messages, conversations, instruction, prompt, question, or chosen and rejected`,
    );
  }
  const history = Array.isArray(record['history']) ? record['history'] : [];
  const past = history.flatMap((pair): Message[] =>
    Array.isArray(pair)
      ? [
          { role: 'user', content: text(pair[0]) ?? '' },
          { role: 'assistant', content: text(pair[1]) ?? '' },
        ]
      : [],
  );
  const contexts = [record['context']].flat().map(text);
  const content = [first, text(record['input']), ...contexts]
    .filter((part) => part !== null && part.trim() !== '')
    .join('\n\n');
  return { prompt: [...before, ...past, { role: 'user', content }], answer };
}

const areTurns = (said: unknown): said is Fields[] =>
  Array.isArray(said) &&
  said.length > 0 &&
  said.every((turn) => isFields(turn) && (turn['role'] ?? turn['from']) !== undefined);

const answerOf = (content: string | null): Message[] =>
  content === null ? [] : [{ role: 'assistant', content }];

const roles: Record<string, Message['role'] | 'call' | 'result'> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  prompter: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  function_call: 'call',
  tool_call: 'call',
  tool: 'result',
  observation: 'result',
  function_response: 'result',
  function: 'result',
};

/** Messages of OpenAI's or ShareGPT's form; a text alone is one turn of the role that is expected. */
function turnsOf(value: unknown, otherwise: 'user' | 'assistant'): Message[] {
  if (typeof value === 'string') return [{ role: otherwise, content: value }];
  const turns = Array.isArray(value) ? value : [value];
  return turns.map((turn): Message => {
    if (!isFields(turn)) throw new ShapeError('unknown_shape', 'found a turn that is no object');
    const named = turn['role'] ?? turn['from'];
    const role = typeof named === 'string' ? roles[named.toLowerCase()] : undefined;
    if (role === undefined) throw new ShapeError('unknown_role', `found ${JSON.stringify(named)}`);
    const said = text(turn['content'] ?? turn['value']) ?? '';
    if (role === 'call') return { role: 'assistant', content: callText(said) };
    if (role === 'result')
      return { role: 'user', content: `<tool_response>\n${said}\n</tool_response>` };
    if (role === 'assistant' && turn['weight'] === 0)
      throw new ShapeError(
        'unlearnt_turn',
        'found an answer of weight 0, expected all to be learnt',
      );
    const made = Array.isArray(turn['tool_calls']) ? turn['tool_calls'] : [turn['function_call']];
    const calls = made
      .filter((call) => call !== undefined && call !== null)
      .map((call) => callText(callOf(call)));
    return { role, content: [said, ...calls].filter((part) => part !== '').join('\n') };
  });
}

const callText = (said: string): string => `<tool_call>\n${said}\n</tool_call>`;

function callOf(call: unknown): string {
  const called = isFields(call) && isFields(call['function']) ? call['function'] : call;
  if (!isFields(called)) return JSON.stringify(called);
  const given = called['arguments'];
  return JSON.stringify({
    name: called['name'],
    arguments: typeof given === 'string' ? (parsed(given) ?? given) : given,
  });
}

function toolsText(tools: unknown): string | null {
  if (tools === undefined || tools === null || tools === '') return null;
  const said = typeof tools === 'string' ? tools : JSON.stringify(tools);
  return said === '[]' ? null : `<tools>\n${said}\n</tools>`;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return null;
  }
}

/** A string, or the texts of parts; null for anything else. */
function text(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (!Array.isArray(value)) return null;
  const parts = value.map((part) => (isFields(part) ? (part['text'] ?? part['value']) : part));
  return parts.every((part) => typeof part === 'string') ? parts.join('') : null;
}

/** A transcript of Anthropic's HH set: turns that begin with Human: and Assistant:. */
function transcript(said: string): Message[] {
  return said
    .split(/\n\n(?=Human:|Assistant:)|^(?=Human:)/)
    .filter((part) => part.trim() !== '')
    .map((part): Message => {
      const human = part.trimStart().startsWith('Human:');
      const content = part
        .trimStart()
        .slice(human ? 6 : 10)
        .trim();
      return { role: human ? 'user' : 'assistant', content };
    });
}

/** Two ways to go on from what both share. */
function preference(prompt: Message[], chosen: Message[], rejected: Message[]): Chat {
  const shared = [...prompt];
  let at = 0;
  while (at < chosen.length - 1 && at < rejected.length - 1 && same(chosen[at]!, rejected[at]!)) {
    shared.push(chosen[at]!);
    at += 1;
  }
  const [better, worse] = [chosen.slice(at), rejected.slice(at)];
  inTurn([...shared, ...better]);
  inTurn([...shared, ...worse]);
  if (better.length !== 1 || worse.length !== 1)
    throw new ShapeError('different_questions', 'found answers to different questions');
  if (same(better[0]!, worse[0]!))
    throw new ShapeError('same_answers', 'chosen and rejected are the same');
  return { kind: 'preference', prompt: inTurn(shared, 'user'), chosen: better, rejected: worse };
}

const same = (a: Message, b: Message): boolean =>
  a.role === b.role && a.content.trim() === b.content.trim();

/** The messages, a call joined to what was said before it; throws where they are not in turn or end with a question. */
function inTurn(messages: readonly Message[], last: 'user' | 'assistant' = 'assistant'): Message[] {
  const whole: Message[] = [];
  for (const message of messages) {
    if (message.role === 'system' && message.content.trim() === '') continue;
    const before = whole.at(-1);
    // A record says beside its messages what they begin with.
    if (before?.role === 'system' && same(before, message)) continue;
    const joins = /^<tool_(?:call|response)>/.test(message.content) || message.role === 'system';
    if (before?.role === message.role && joins) before.content += `\n${message.content}`;
    else whole.push({ ...message });
  }
  const turns = whole.filter(({ role }) => role !== 'system');
  const order = turns.every(({ role }, index) => role === (index % 2 === 0 ? 'user' : 'assistant'));
  if (!order || whole.slice(1).some(({ role }) => role === 'system'))
    throw new ShapeError('turns_out_of_order', `found ${whole.map(({ role }) => role).join(', ')}`);
  if (turns.length === 0 || turns.at(-1)!.role !== last)
    throw new ShapeError('no_answer', `the last turn is not of the ${last}`);
  if (whole.some(({ content }) => content.trim() === ''))
    throw new ShapeError('empty_turn', 'found a turn without a text');
  return whole;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const leftOut = (reason: string, detail: string): Refusal => ({ reason, detail });
