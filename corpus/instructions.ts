/**
 * Instruction data from the metadata of the documents: questions with one true answer, and a true
 * against a false answer, in phrasings to train on and in phrasings kept for evaluation.
 */
import type { Document } from '../config/manifests.ts';
import { noSuchFields, templateFields, type Questions } from '../config/questions.ts';
import { QuestionsError } from './errors.ts';
import { byCodeUnits, digestOf, shuffled } from './order.ts';
import { fillTemplate } from './templates.ts';

interface Message {
  role: 'user' | 'assistant';
  content: string;
}
const user = (content: string): Message => ({ role: 'user', content });
const assistant = (content: string): Message => ({ role: 'assistant', content });

export interface Instructions {
  train: { messages: [Message, Message] }[];
  preferences: { prompt: [Message]; chosen: [Message]; rejected: [Message] }[];
  questions: { question: string; answer: string; name: string }[];
  preferencesHeldOut: { question: string; chosen: string; rejected: string }[];
  /** Facts left out because the corpus answers them twice. */
  numAmbiguous: number;
}

/** One thing to know: what is asked, in every phrasing, and the answer. */
interface Fact {
  /** Place of its questions in the pipeline file. */
  entry: number;
  name: string;
  key: string;
  answer: string;
  ask: string[];
  askHeldOut: string[];
}

/** Makes the lines; equal metadata, questions and seed give equal lines in equal order. */
export function makeInstructions(
  metadata: readonly Document['metadata'][],
  questions: readonly Questions[],
  seed: number,
): Instructions {
  const facts = questions.flatMap((asked, entry) => factsOf(asked, entry, metadata));
  const { certain, numAmbiguous } = withoutAmbiguous(facts);
  const trained = new Set(certain.flatMap((fact) => fact.ask));
  const result: Instructions = {
    train: [],
    preferences: [],
    questions: [],
    preferencesHeldOut: [],
    numAmbiguous,
  };
  const asOf = (purpose: string, fact: Fact, question: string): string =>
    digestOf(String(seed), purpose, String(fact.entry), question);
  const answers = Map.groupBy(certain, (fact) => fact.entry);

  const pairs = certain.flatMap((fact) => fact.ask.map((question) => ({ fact, question })));
  for (const { fact, question } of shuffled(unique(pairs), `train ${seed}`, pairKey))
    result.train.push({ messages: [user(question), assistant(fact.answer)] });
  for (const { fact, question } of shuffled(unique(pairs), `preferences ${seed}`, pairKey)) {
    const wrong = wrongAnswer(answers.get(fact.entry)!, fact, asOf('wrong', fact, question));
    if (wrong === null) continue;
    result.preferences.push({
      prompt: [user(question)],
      chosen: [assistant(fact.answer)],
      rejected: [assistant(wrong)],
    });
  }

  const heldOut = certain.flatMap((fact) =>
    fact.askHeldOut
      .filter((question) => !trained.has(question))
      .map((question) => ({ fact, question })),
  );
  for (const { fact, question } of shuffled(unique(heldOut), `questions ${seed}`, pairKey)) {
    result.questions.push({ question, answer: fact.answer, name: fact.name });
    const wrong = wrongAnswer(
      answers.get(fact.entry)!,
      fact,
      asOf('wrong-held-out', fact, question),
    );
    if (wrong !== null)
      result.preferencesHeldOut.push({ question, chosen: fact.answer, rejected: wrong });
  }
  return result;
}

function factsOf(
  asked: Questions,
  entry: number,
  metadata: readonly Document['metadata'][],
): Fact[] {
  const fields = [...new Set([...asked.ask, ...asked.askHeldOut].flatMap(templateFields))];
  const facts = new Map<string, Fact>();
  for (const record of metadata) {
    const answer = fillTemplate(asked.answer, record);
    if (answer === null || answer.trim() === '') continue;
    const ask = asked.ask.map((phrasing) => fillTemplate(phrasing, record));
    const askHeldOut = asked.askHeldOut.map((phrasing) => fillTemplate(phrasing, record));
    if (!whole(ask) || !whole(askHeldOut)) continue;
    const key = JSON.stringify(fields.map((field) => record[field]));
    facts.set(JSON.stringify([key, answer]), {
      entry,
      name: asked.name,
      key,
      answer,
      ask,
      askHeldOut,
    });
  }
  if (facts.size === 0) {
    const present = [...new Set(metadata.flatMap((record) => Object.keys(record)))].toSorted(
      byCodeUnits,
    );
    throw new QuestionsError(noSuchFields(asked, present));
  }
  return [...facts.values()];
}

/** A fact is ambiguous when any of its phrasings, filled, also asks for something with another answer. */
function withoutAmbiguous(facts: readonly Fact[]): { certain: Fact[]; numAmbiguous: number } {
  const answers = new Map<string, Set<string>>();
  for (const fact of facts) {
    for (const question of [...fact.ask, ...fact.askHeldOut]) {
      const found = answers.get(question);
      if (found === undefined) answers.set(question, new Set([fact.answer]));
      else found.add(fact.answer);
    }
  }
  const ambiguous = (fact: Fact): boolean =>
    [...fact.ask, ...fact.askHeldOut].some((question) => answers.get(question)!.size > 1);
  const left = facts.filter(ambiguous);
  return {
    certain: facts
      .filter((fact) => !ambiguous(fact))
      .toSorted((a, b) => a.entry - b.entry || byCodeUnits(a.key, b.key)),
    numAmbiguous: new Set(left.map((fact) => JSON.stringify([fact.entry, fact.key]))).size,
  };
}

/** The answer of another document, as frequent among wrong answers as among right ones; null when all agree. */
function wrongAnswer(facts: readonly Fact[], right: Fact, digest: string): string | null {
  const start = Number.parseInt(digest.slice(0, 12), 16) % facts.length;
  for (let step = 0; step < facts.length; step += 1) {
    const { answer } = facts[(start + step) % facts.length]!;
    if (answer !== right.answer) return answer;
  }
  return null;
}

interface Pair {
  fact: Fact;
  question: string;
}

function pairKey({ fact, question }: Pair): string {
  return JSON.stringify([fact.entry, question]);
}

function unique(pairs: readonly Pair[]): Pair[] {
  return [...new Map(pairs.map((pair) => [pairKey(pair), pair])).values()];
}

function whole(questions: readonly (string | null)[]): questions is string[] {
  return questions.every((question) => question !== null);
}
