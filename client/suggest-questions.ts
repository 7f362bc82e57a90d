/**
 * Questions that the metadata of a folder's documents can answer: one field names a document, another is
 * what is asked about it. The phrasings are plain, to be bettered by whoever knows the text.
 */
import type { Survey, SurveyedField } from '../config/survey.ts';

export interface SuggestedQuestions {
  name: string;
  ask: string[];
  askHeldOut: string[];
  answer: string;
}

export interface Suggestion {
  /** The field that names a document. */
  key: string;
  questions: SuggestedQuestions[];
}

const minDocuments = 20;
const maxGroups = 2;
const maxAnswerLength = 60;
const maxKeyLength = 120;
/** Names by which people call a document, the likeliest first. */
const keyNames = ['title', 'name', 'subject', 'heading', 'headline', 'question', 'case'];
/** What no person asks about. */
const technical =
  /^(_|@)|(^|[_-])(id|uuid|guid|url|uri|link|href|path|file|filename|hash|sha\d*|md5|digest|lang|language|source|layout|slug|draft|template|permalink)$/i;

/** The questions worth suggesting, or null where no field names a document and another tells something of it. */
export function suggestQuestions(survey: Survey): Suggestion | null {
  const usable = survey.fields.filter(
    ({ field, numDocuments }) =>
      numDocuments >= minDocuments && !technical.test(field) && /^[^{}\r\n]{1,60}$/.test(field),
  );
  const keys = usable
    .filter(
      ({ words, meanLength, numValues, numDocuments }) =>
        words && meanLength <= maxKeyLength && numValues >= numDocuments * 0.5,
    )
    .toSorted((a, b) => rankOf(a) - rankOf(b) || b.numDocuments - a.numDocuments);
  for (const key of keys) {
    const answers = usable
      .filter(
        (field) => field !== key && rankOf(field) === keyNames.length && canAnswer(field, key),
      )
      .toSorted((a, b) => Number(b.words) - Number(a.words) || b.numDocuments - a.numDocuments)
      .slice(0, maxGroups);
    if (answers.length === 0) continue;
    const chinese = survey.languages[0]?.language ?? '';
    const words = chinese.startsWith('zh')
      ? phrasings[chinese === 'zh-Hans' ? 'hans' : 'hant']
      : phrasings.en;
    return { key: key.field, questions: answers.map((answer) => groupOf(key, answer, words)) };
  }
  return null;
}

function rankOf({ field }: SurveyedField): number {
  const rank = keyNames.indexOf(field.toLowerCase());
  return rank < 0 ? keyNames.length : rank;
}

function canAnswer(field: SurveyedField, key: SurveyedField): boolean {
  return (
    field.meanLength <= maxAnswerLength &&
    field.numValues >= 2 &&
    field.numDocuments >= key.numDocuments * 0.3
  );
}

interface Phrasings {
  ask: ((key: string, label: string) => string)[];
  askHeldOut: ((key: string, label: string) => string)[];
}

const phrasings: Record<'en' | 'hant' | 'hans', Phrasings> = {
  en: {
    ask: [
      (key, label) => `What is the ${label} of ${key}?`,
      (key, label) => `Tell me the ${label} of ${key}.`,
      (key, label) => `${key}: what is its ${label}?`,
      (key, label) => `Which ${label} does ${key} have?`,
      (key, label) => `Give the ${label} of ${key}.`,
      (key, label) => `I am reading ${key}. What is its ${label}?`,
      (key, label) => `Name the ${label} of ${key}.`,
      (key, label) => `For ${key}, say what the ${label} is.`,
    ],
    askHeldOut: [
      (key, label) => `Please tell me what the ${label} of ${key} is.`,
      (key, label) => `${key} has which ${label}?`,
    ],
  },
  hant: {
    ask: [
      (key, label) => `${key}的${label}是什麼？`,
      (key, label) => `請告訴我${key}的${label}。`,
      (key, label) => `${key}：${label}是？`,
      (key, label) => `請說出${key}的${label}。`,
      (key, label) => `關於${key}，它的${label}是什麼？`,
      (key, label) => `我正在讀${key}，它的${label}為何？`,
      (key, label) => `${key}有什麼${label}？`,
      (key, label) => `寫出${key}的${label}。`,
    ],
    askHeldOut: [
      (key, label) => `我想知道${key}的${label}是什麼。`,
      (key, label) => `請問${key}的${label}為何？`,
    ],
  },
  hans: {
    ask: [
      (key, label) => `${key}的${label}是什么？`,
      (key, label) => `请告诉我${key}的${label}。`,
      (key, label) => `${key}：${label}是？`,
      (key, label) => `请说出${key}的${label}。`,
      (key, label) => `关于${key}，它的${label}是什么？`,
      (key, label) => `我正在读${key}，它的${label}为何？`,
      (key, label) => `${key}有什么${label}？`,
      (key, label) => `写出${key}的${label}。`,
    ],
    askHeldOut: [
      (key, label) => `我想知道${key}的${label}是什么。`,
      (key, label) => `请问${key}的${label}为何？`,
    ],
  },
};

function groupOf(key: SurveyedField, answer: SurveyedField, words: Phrasings): SuggestedQuestions {
  const label = answer.field.replaceAll(/[_\s-]+/g, ' ').trim();
  const fill = (phrasing: (key: string, label: string) => string) =>
    phrasing(`{${key.field}}`, label);
  return {
    name: groupName(answer.field),
    ask: words.ask.map(fill),
    askHeldOut: words.askHeldOut.map(fill),
    answer: `{${answer.field}}`,
  };
}

/** A field's name as the name of a group: lowercase letters, digits and hyphens. */
function groupName(field: string): string {
  const slug = slugOf(field).slice(0, 40).replace(/-+$/, '');
  return /^[a-z]/.test(slug) && slug.length >= 3
    ? slug
    : `field-${slug}`.replace(/-+$/, '').slice(0, 40);
}

/** Lowercase letters, digits and single hyphens; what has no such form is left out. */
export function slugOf(text: string): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
}
