/** What SFT can learn from: questions about the metadata of the documents, or conversations that are given. */
import { z } from 'zod';
import { name } from './pipeline-values.ts';

/**
 * Questions whose answers stand in the metadata of the documents. `{field}` in a phrasing or an
 * answer is replaced; a question with two different answers in the corpus is left out and counted.
 */
export const questionsSchema = z.strictObject({
  name: name.describe('what is asked, for reports'),
  ask: z.array(z.string().min(1)).min(1).describe('phrasings to train on'),
  askHeldOut: z.array(z.string().min(1)).min(1).describe('phrasings kept for evaluation'),
  answer: z.string().min(1).describe('the answer, e.g. {name}'),
});
export type Questions = z.infer<typeof questionsSchema>;

/** Whether a file gives what SFT can learn from: questions, or conversations. */
export function teachesAnswers(file: {
  questions: readonly unknown[];
  data: { conversations?: unknown };
}): boolean {
  return file.questions.length > 0 || file.data.conversations !== undefined;
}

/** The fields that a phrasing with `{field}` in it needs, in order. */
export function templateFields(template: string): string[] {
  return Array.from(template.matchAll(/\{([^{}]+)\}/g), ([, field]) => field!);
}

/** The fields that a document must have, all of them, to be asked about: those of the phrasings, then those of the answer. */
export function fieldsAsked({ ask, askHeldOut, answer }: Questions): string[] {
  return [...new Set([...ask, ...askHeldOut, answer].flatMap(templateFields))];
}

/** That no document can answer, and what the documents have. */
export function noSuchFields(asked: Questions, present: readonly string[]): string {
  return (
    `questions "${asked.name}": found no document with the fields ${fieldsAsked(asked).join(', ')}; ` +
    `the documents have ${present.slice(0, 20).join(', ') || 'no metadata'}. Correct the fields in the pipeline file.`
  );
}
