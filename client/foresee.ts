/** What a run would refuse of the documents and the questions, foreseen from a look at the sources. Pure. */
import {
  droppedShare,
  nothingSampled,
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
  /** Different texts of the documents; how often each is there is counted. */
  numDistinct: number;
  /** Of these, cleaned and compared to foresee it; fewer than all: the counts are an estimate from these. */
  numJudged: number;
  /** How far the share that is left out may be off by chance: three standard errors; 0: it was all judged. */
  chance: number;
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
  if (drops.numDocuments === 0) {
    const fault = sampleFault(pipeline, surveys);
    return fault && { ...drops, fault };
  }
  // An estimate warns and does not refuse: a run counts.
  const tooFew = drops.chance > 0 ? null : tooFewKept(drops, pipeline.data.maxDropped);
  return { ...drops, fault: questionsFault(pipeline, surveys) ?? dropsFault(tooFew) };
}

/** A line for people; null: nothing would be left out. */
export function leftOutLine(foreseen: Foreseen, maxDropped: number): string | null {
  const { kept, numDistinct, numJudged, chance } = foreseen;
  const { numAll, share } = droppedShare(foreseen);
  if (kept >= numAll) return null;
  const counts = `${numAll - kept} of ${numAll} documents, ${percentOf(share)}`;
  const reasons = `(${reasonsOf(foreseen)})`;
  const above = `above ${percentOf(maxDropped)}`;
  if (chance === 0) return `left out: ${counts} ${reasons}; a run stops ${above}`;
  const from = numJudged < numDistinct ? ` from ${numJudged} of ${numDistinct} texts` : '';
  return (
    `left out: about ${counts} ± ${percentOf(chance)} ${reasons}, an estimate${from}; ` +
    stopsAt({ kept, share, chance, maxDropped, above })
  );
}

function stopsAt({
  kept,
  share,
  chance,
  maxDropped,
  above,
}: Pick<Foreseen, 'kept' | 'chance'> & { share: number; maxDropped: number; above: string }) {
  if (share - chance > maxDropped) return `a run will most likely stop, for it does ${above}`;
  if (kept < 2) return 'a run may stop, for it does where fewer than 2 are kept';
  if (share + chance > maxDropped) return `a run may stop, for it does ${above}`;
  return `a run stops ${above}`;
}

function dropsOf(sample: number, surveys: readonly Survey[]): Omit<Foreseen, 'fault'> {
  const [dropped, unread]: Record<string, number>[] = [{}, {}];
  const add = (sums: Record<string, number>, reason: string, count: number): void => {
    if (count > 0) sums[reason] = (sums[reason] ?? 0) + count;
  };
  const sums = { numDocuments: 0, numDistinct: 0, numJudged: 0 };
  let variance = 0;
  for (const { foreseen, notRead } of surveys) {
    for (const { reason, count } of notRead) {
      add(unread!, reason, Math.round(count * sample));
      variance += count * sample * (1 - sample);
    }
    if (foreseen === undefined) continue;
    const { numDistinct, numJudged } = foreseen;
    for (const name of ['numDocuments', 'numDistinct', 'numJudged'] as const)
      sums[name] += foreseen[name];
    const times = numDistinct / Math.max(1, numJudged);
    for (const [reason, count] of Object.entries(foreseen.dropped))
      add(dropped!, reason, Math.round(count * times));
    for (const [reason, count] of Object.entries(foreseen.repeated)) add(dropped!, reason, count);
    // Of a share of a half, which varies most; each source was drawn from by itself.
    variance += numJudged < numDistinct ? (0.25 * numDistinct ** 2) / Math.max(1, numJudged) : 0;
  }
  const numDropped = Object.values(dropped!).reduce((sum, count) => sum + count, 0);
  const kept = Math.max(0, sums.numDocuments - numDropped);
  const drops = { ...sums, kept, dropped: dropped!, unread: unread! };
  return { ...drops, chance: (3 * Math.sqrt(variance)) / Math.max(1, droppedShare(drops).numAll) };
}

function dropsFault(tooFew: TooFew | null): Foreseen['fault'] {
  if (tooFew === null) return null;
  const { field, message } = tooFew;
  return { keys: field.split('.'), message: `${field}: a run would stop: ${message}` };
}

/** Where there are documents, and the sample takes none of them. */
function sampleFault({ data }: Asked, surveys: readonly Survey[]): Foreseen['fault'] {
  const judged = surveys.filter(({ foreseen }) => foreseen !== undefined);
  const numFound = judged.reduce((sum, survey) => sum + survey.numDocuments, 0);
  if (data.sample >= 1 || numFound === 0) return null;
  return { keys: ['data', 'sample'], message: nothingSampled(data.sample, numFound) };
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
