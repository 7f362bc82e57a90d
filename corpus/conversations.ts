/** Conversations of many files, cleaned, redacted, each once, none too long, and parted into what is learnt and what is measured. */
import { kindsOf, type PersonalDataOption } from '../config/personal-data.ts';
import { unspaced, scriptOf, scripts } from './characters.ts';
import { chatsOf, type Chat, type Message } from './chats.ts';
import { cleanText, cleanTurn } from './clean.ts';
import type { Contamination } from './contamination.ts';
import { digestOf, hashShare, shuffled } from './order.ts';
import { redact } from './redact.ts';
import { wordsOf } from './words.ts';

export interface Conversations {
  train: { messages: Message[] }[];
  preferences: { prompt: Message[]; chosen: Message[]; rejected: Message[] }[];
  preferencesHeldOut: { question: string; chosen: string; rejected: string }[];
  numRecords: number;
  dropped: Record<string, number>;
  /** Of each reason, what was found of the first record. */
  details: Record<string, string>;
  redacted: Record<string, number>;
}

export interface ConversationOptions {
  personalData: PersonalDataOption;
  /** Share of the preferences that are kept to measure with. */
  heldOut: number;
  seed: number;
  /** Conversations that say what these evaluation sets ask are left out. */
  contamination?: Contamination;
}

/** Takes all records, in any order: the same ones give the same lines in the same order. `onRecord` hears of each. */
export function makeConversations(
  files: Iterable<{ records: readonly unknown[]; maxTokens: number }>,
  { personalData, heldOut, seed, contamination }: ConversationOptions,
  onRecord: (numRecords: number) => void = () => {},
): Conversations {
  const kinds = kindsOf(personalData);
  const dropped: Record<string, number> = {};
  const redacted: Record<string, number> = {};
  const details: Record<string, string> = {};
  const drop = (reason: string, detail?: string): void => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
    if (detail !== undefined) details[reason] ??= detail;
  };
  const purge = (messages: readonly Message[]): Message[] =>
    messages.map(({ role, content }) => {
      const { text, counts } = redact(cleanTurn(content), kinds);
      for (const [kind, count] of Object.entries(counts))
        redacted[kind] = (redacted[kind] ?? 0) + count;
      return { role, content: text };
    });

  const isAsked = ({ content }: Message): boolean => {
    if (contamination === undefined) return false;
    const text = cleanText(content);
    return contamination.refusal(text, wordsOf(text)) !== null;
  };
  const chats = new Map<string, { messages: Message[] }>();
  const pairs = new Map<string, Conversations['preferences'][number]>();
  const judged = new Map<string, { prompt: Message[]; good: Message[][]; bad: Message[][] }>();
  let numRecords = 0;
  for (const { records, maxTokens } of files) {
    for (const record of records) {
      numRecords += 1;
      onRecord(numRecords);
      for (const found of chatsOf(record)) {
        if (!('kind' in found)) drop(found.reason, found.detail);
        else if (tokensOf(found) > maxTokens) drop('too_long');
        else if (turnsOf(found).some(isAsked)) drop('contaminated');
        else keep(found);
      }
    }
  }
  function keep(found: Chat): void {
    if (found.kind === 'chat') {
      const messages = purge(found.messages);
      const key = keyOf(messages);
      if (chats.has(key)) drop('duplicate');
      else chats.set(key, { messages });
    } else if (found.kind === 'preference') {
      addPair(purge(found.prompt), purge(found.chosen), purge(found.rejected));
    } else {
      const prompt = purge(found.prompt);
      const key = keyOf(prompt);
      const group = judged.get(key) ?? { prompt, good: [], bad: [] };
      group[found.good ? 'good' : 'bad'].push(purge(found.answer));
      judged.set(key, group);
    }
  }
  function addPair(prompt: Message[], chosen: Message[], rejected: Message[]): void {
    const key = keyOf([...prompt, ...chosen, ...rejected]);
    if (keyOf(chosen) === keyOf(rejected)) drop('same_answers');
    else if (pairs.has(key)) drop('duplicate');
    else pairs.set(key, { prompt, chosen, rejected });
  }
  // A good answer teaches by itself; with a bad one to the same question it is a preference too.
  for (const { prompt, good, bad } of judged.values()) {
    for (const [index, answer] of good.entries()) {
      const messages = [...prompt, ...answer];
      chats.set(keyOf(messages), { messages });
      if (bad[index] !== undefined) addPair(prompt, answer, bad[index]);
    }
    for (let left = good.length; left < bad.length; left += 1) drop('unpaired');
  }

  const preferencesHeldOut: Conversations['preferencesHeldOut'] = [];
  const measured = new Set<string>();
  const rest: Conversations['preferences'] = [];
  for (const [, pair] of shuffled([...pairs], `preferences ${seed}`, ([one]) => one)) {
    const { prompt, chosen, rejected } = pair;
    const isMeasured = hashShare('held-out', keyOf(prompt)) < heldOut && prompt.length === 1;
    if (!isMeasured) rest.push(pair);
    else {
      const [question, better, worse] = [prompt[0]!, chosen[0]!, rejected[0]!].map(
        ({ content }) => content,
      );
      preferencesHeldOut.push({ question: question!, chosen: better!, rejected: worse! });
      measured.add(question!);
    }
  }
  // By the question: no other answer to it, nor a conversation that begins with it, is trained on.
  const isFree = (messages: readonly Message[]): boolean => {
    const first = messages.find(({ role }) => role === 'user');
    if (first === undefined || !measured.has(first.content)) return true;
    drop('held_out');
    return false;
  };
  const preferences = rest.filter(({ prompt }) => isFree(prompt));
  for (const [key, { messages }] of chats) if (!isFree(messages)) chats.delete(key);
  // Where there are only preferences, their better answers are what SFT learns first.
  if (chats.size === 0) {
    for (const { prompt, chosen } of preferences) {
      const messages = [...prompt, ...chosen];
      chats.set(keyOf(messages), { messages });
    }
  }
  const train = shuffled([...chats], `train ${seed}`, ([key]) => key).map(([, chat]) => chat);
  return { train, preferences, preferencesHeldOut, numRecords, dropped, details, redacted };
}

const keyOf = (messages: readonly Message[]): string =>
  digestOf(...messages.flatMap(({ role, content }) => [role, content]));

function turnsOf(chat: Chat): Message[] {
  if (chat.kind === 'chat') return chat.messages;
  if (chat.kind === 'judged') return [...chat.prompt, ...chat.answer];
  return [...chat.prompt, ...chat.chosen, ...chat.rejected];
}

function tokensOf(chat: Chat): number {
  if (chat.kind === 'chat') return tokens(chat.messages);
  if (chat.kind === 'judged') return tokens([...chat.prompt, ...chat.answer]);
  return tokens(chat.prompt) + Math.max(tokens(chat.chosen), tokens(chat.rejected));
}

/** As a vocabulary of some thousands cuts them: three letters of scripts with spaces, one of the others, four for the turn. */
function tokens(messages: readonly Message[]): number {
  let sum = 0;
  for (const { content } of messages) {
    let whole = 0;
    for (let index = 0; index < content.length; index += 1)
      if (unspaced.has(scripts[scriptOf[content.charCodeAt(index)]!]!)) whole += 1;
    sum += 4 + whole + Math.ceil((content.length - whole) / 3);
  }
  return sum;
}
