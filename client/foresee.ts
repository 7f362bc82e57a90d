/** What a run would refuse of the documents and the questions, foreseen from a look at the sources. Pure. */
import {
  droppedShare,
  percentOf,
  reasonsOf,
  tooFewKept,
  type DropCounts,
  type TooFew,
} from '../config/dropped.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { fieldsAsked, noSuchFields, type Questions } from '../config/questions.ts';
import type { Survey, SurveyRequest } from '../config/survey.ts';
import { nearest } from './nearest.ts';

export interface Foreseen extends DropCounts {
  /** Documents that were cleaned and compared to foresee it; fewer than all: the counts are an estimate from these. */
  numJudged: number;
  /** What a run would refuse, and the keys that it is about; null: nothing of this. */
  fault: { keys: PropertyKey[]; message: string } | null;
}

type Asked = Pick<Pipeline, 'data' | 'questions'>;

/** What to look for beside the usual, to foresee by. */
export function toForesee({ data, questions }: Asked): Pick<SurveyRequest, 'judge' | 'fields'> {
  const { sample, personalData, quality, clean, languages, deduplicate } = data;
  return {
    judge: {
      sample,
      personalData,
      quality,
      clean,
      ...(languages && { languages }),
      ...(deduplicate && { deduplicate }),
    },
    fields: questions.map(fieldsAsked),
  };
}

/** Of all sources together; duplicates between two sources and what evaluation sets say are not looked for. */
export function foresee(pipeline: Asked, surveys: readonly Survey[]): Foreseen | null {
  const drops = dropsOf(pipeline.data.sample, surveys);
  const { numDocuments, numJudged } = drops;
  if (numJudged === 0) return null;
  // What is drawn by a hash differs by chance: three standard errors of the share at most.
  const chance = numJudged < numDocuments ? 3 * Math.sqrt(0.25 / numJudged) : 0;
  const tooFew = tooFewKept(drops, pipeline.data.maxDropped + chance);
  return { ...drops, fault: questionsFault(pipeline, surveys) ?? dropsFault(drops, tooFew) };
}

/** A line for people; null: nothing would be left out. */
export function leftOutLine(foreseen: Foreseen, maxDropped: number): string | null {
  const { kept } = foreseen;
  const { numAll, share } = droppedShare(foreseen);
  if (kept >= numAll) return null;
  const from = basis(foreseen);
  const near = share > maxDropped ? 'a run may stop, for it does' : 'a run stops';
  return (
    `left out: ${from === '' ? '' : 'about '}${numAll - kept} of ${numAll} documents, ${percentOf(share)} (${reasonsOf(foreseen)})` +
    `${from === '' ? '' : `, ${from}`}; ${near} above ${percentOf(maxDropped)}`
  );
}

function dropsOf(sample: number, surveys: readonly Survey[]): Omit<Foreseen, 'fault'> {
  const [dropped, unread]: Record<string, number>[] = [{}, {}];
  const add = (sums: Record<string, number>, reason: string, count: number): void => {
    if (count > 0) sums[reason] = (sums[reason] ?? 0) + count;
  };
  let [numDocuments, numJudged] = [0, 0];
  for (const { foreseen, notRead } of surveys) {
    for (const { reason, count } of notRead) add(unread!, reason, Math.round(count * sample));
    if (foreseen === undefined) continue;
    numDocuments += foreseen.numDocuments;
    numJudged += foreseen.numJudged;
    const times = foreseen.numDocuments / Math.max(1, foreseen.numJudged);
    for (const [reason, count] of Object.entries(foreseen.dropped))
      add(dropped!, reason, Math.round(count * times));
  }
  const numDropped = Object.values(dropped!).reduce((sum, count) => sum + count, 0);
  const kept = Math.max(0, numDocuments - numDropped);
  return { numDocuments, numJudged, kept, dropped: dropped!, unread: unread! };
}

function basis({ numDocuments, numJudged }: Pick<Foreseen, 'numDocuments' | 'numJudged'>): string {
  return numJudged < numDocuments ? `an estimate from ${numJudged} of them` : '';
}

function dropsFault(drops: Omit<Foreseen, 'fault'>, tooFew: TooFew | null): Foreseen['fault'] {
  if (tooFew === null) return null;
  const { field, message } = tooFew;
  const from = basis(drops) === '' ? '' : ` (${basis(drops)})`;
  return { keys: field.split('.'), message: `${field}: a run would stop${from}: ${message}` };
}

function questionsFault({ questions }: Asked, surveys: readonly Survey[]): Foreseen['fault'] {
  const index = questions.findIndex((_, at) =>
    surveys.every(({ numAnswering }) => numAnswering?.[at] === 0),
  );
  const unanswered = questions[index];
  if (unanswered === undefined || surveys.length === 0) return null;
  const present = surveys.flatMap(({ fields }) => fields.map(({ field }) => field));
  return unansweredFault(index, unanswered, new Set(present));
}

/** The fault of questions that no document answers, by their index. */
export function unansweredFault(
  index: number,
  asked: Questions,
  fields: ReadonlySet<string>,
): NonNullable<Foreseen['fault']> {
  const present = [...fields].toSorted((a, b) => (a < b ? -1 : 1));
  const near = fieldsAsked(asked).flatMap((field) =>
    fields.has(field) ? [] : (nearest(field, present) ?? []),
  );
  const hint = near.length === 0 ? '' : ` Did you mean {${near.join('} and {')}}?`;
  return { keys: ['questions', index], message: `${noSuchFields(asked, present)}${hint}` };
}
