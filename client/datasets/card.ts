/**
 * The data card of a dataset version, in Markdown: where it came from, what was left out and why, what it is good
 * for and what not. Every sentence follows from what is stored; nothing is asked of anybody.
 */
import { stringify } from 'yaml';
import type { CorpusManifest, DatasetManifest } from '../../config/manifests.ts';
import { kindsOf, likelyKinds } from '../../config/personal-data.ts';
import { formSteps, stepsOf, usualSteps } from '../../config/cleaning.ts';
import { lengthStarts, type Distributions, type Top } from '../../config/statistics.ts';
import { personal } from '../report/personal-words.ts';
import { count, large, percent, plural, reasonWords, size } from '../report/words.ts';
import { groupsOf } from './drops.ts';
import { hubLicense } from './licenses.ts';

export interface CardFacts {
  dataset: DatasetManifest;
  /** The newest corpus made of it; null: none was. */
  corpus: { stage: string; manifest: CorpusManifest } | null;
}

/** What a folder holds that the card lies in. */
export interface CardFolder {
  /** The corpus as training reads it, not the documents as they were read. */
  cleaned: boolean;
  splits: { name: string; pattern: string }[];
  /** What the list of dropped documents beside it lacks. */
  notes: string[];
}

/** The card; in a folder of Hugging Face's form it begins with the head that the Hub reads. */
export function dataCard(facts: CardFacts, folder?: CardFolder): string {
  const { dataset, corpus } = facts;
  const parts = [
    ...(folder === undefined ? [] : [`---\n${cardHead(facts, folder)}---`]),
    `# ${dataset.name}@${dataset.version}`,
    about(facts, folder),
    section('Sources', sources(dataset)),
    section('Sizes', sizes(facts)),
    section('Languages', languages(facts)),
    section('Where from, and when', places(facts)),
    section('What was left out, and why', leftOut(facts)),
    section('How it was cleaned', cleaning(corpus?.manifest ?? null)),
    section('Personal data', personalData(facts, folder)),
    section('Duplicates', duplicates(corpus?.manifest ?? null)),
    section('Evaluation sets', contamination(corpus?.manifest ?? null)),
    section('Known limits', limits(facts, folder)),
  ];
  return `${parts.join('\n\n')}\n`;
}

function section(title: string, body: string): string {
  return `## ${title}\n\n${body}`;
}

/** The head of a dataset's card as the Hub reads it. */
function cardHead({ dataset, corpus }: CardFacts, { cleaned, splits }: CardFolder): string {
  const numDocuments = cleaned ? corpus!.manifest.statistics.kept : dataset.numDocuments;
  const tags = languageTags(distributionsOf({ dataset, corpus }, cleaned));
  const licenses = [
    ...dataset.sources.map(({ license }) => license),
    ...(dataset.distributions?.licenses.top.map(({ name }) => name) ?? []),
  ];
  return stringify(
    {
      pretty_name: `${dataset.name}, version ${dataset.version}`,
      ...(tags.length > 0 && { language: tags }),
      ...hubLicense(licenses),
      task_categories: ['text-generation'],
      size_categories: [sizeCategory(numDocuments)],
      configs: [
        {
          config_name: 'default',
          data_files: splits.map(({ name, pattern }) => ({ split: name, path: pattern })),
        },
      ],
    },
    { lineWidth: 0 },
  );
}

/** Codes of ISO 639 alone: the Hub takes neither scripts nor regions here. */
function languageTags(distributions: Distributions | null): string[] {
  const codes = Object.entries(distributions?.languages ?? {})
    .toSorted(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    .flatMap(([language]) => /^([a-z]{2,3})(-[A-Za-z]+)*$/.exec(language)?.[1] ?? []);
  return [...new Set(codes)];
}

function sizeCategory(numDocuments: number): string {
  const steps = ['1K', '10K', '100K', '1M', '10M', '100M', '1B', '10B', '100B', '1T'];
  const at = steps.findIndex((_, index) => numDocuments < 1000 * 10 ** index);
  if (at === 0) return 'n<1K';
  return at < 0 ? 'n>1T' : `${steps[at - 1]!}<n<${steps[at]!}`;
}

function distributionsOf({ dataset, corpus }: CardFacts, cleaned: boolean): Distributions | null {
  const kept = corpus?.manifest.statistics.distributions;
  return (cleaned ? kept : undefined) ?? dataset.distributions ?? kept ?? null;
}

function about({ dataset, corpus }: CardFacts, folder?: CardFolder): string {
  const lines = [
    `${plural(dataset.numDocuments, 'document')}, ${size(dataset.bytes)} of text, as they were read. Dataset digest \`sha256:${dataset.digest}\`.`,
  ];
  if (corpus !== null) {
    const { kept, bytes, numTokens } = corpus.manifest.statistics;
    lines.push(
      `Cleaned for training, ${plural(kept, 'document')} and ${size(bytes)} are left: ${large(numTokens)} tokens to train on, in the corpus \`${corpus.stage.slice(0, 12)}\`.`,
    );
  }
  if (folder !== undefined) {
    lines.push(
      folder.cleaned
        ? 'This folder holds the cleaned documents in the order in which training reads them. Split `validation` is held out and was never trained on. Fields: `id`, `source`, `license`, `text`, and `metadata` as JSON.'
        : 'This folder holds the documents as they were read, before any cleaning. Fields: `id`, `source`, `license`, `text`, and `metadata` as JSON.',
      '`dropped.jsonl` lists what is not in it, each with its reason.',
      ...folder.notes,
    );
  }
  return lines.join('\n');
}

function sources({ sources: all, distributions }: DatasetManifest): string {
  const rows = all.map(({ name, license, numDocuments, bytes }) => [
    name,
    license,
    count(numDocuments),
    size(bytes),
  ]);
  const stated = distributions?.licenses;
  const own =
    stated === undefined || stated.top.length === 0
      ? ''
      : `\n\nSome documents state a licence of their own, which holds for them instead: ${namesOf(stated)}.`;
  return `${markdownTable(['Source', 'Licence', 'Documents', 'Text'], rows)}${own}`;
}

function sizes({ dataset, corpus }: CardFacts): string {
  const kept = corpus?.manifest;
  const rows = [
    ['Documents', count(dataset.numDocuments), ...(kept ? [count(kept.statistics.kept)] : [])],
    ['Text', size(dataset.bytes), ...(kept ? [size(kept.statistics.bytes)] : [])],
    ...(kept
      ? [
          ['Characters', '', count(kept.statistics.characters)],
          ['Tokens to train on', '', count(kept.statistics.numTokens)],
          [
            'Held out',
            '',
            `${plural(kept.heldOut.numDocuments, 'document')}, ${count(kept.heldOut.numTokens)} tokens`,
          ],
        ]
      : []),
  ];
  const header = ['', 'As read', ...(kept ? ['Kept'] : [])];
  const read = dataset.distributions?.lengths ?? null;
  const left = kept?.statistics.distributions?.lengths ?? null;
  const spread = lengthRows(read, left);
  const table = markdownTable(header, rows);
  if (spread.length === 0) return table;
  const columns = [
    'Characters of a document',
    ...(read ? ['As read'] : []),
    ...(left ? ['Kept'] : []),
  ];
  return `${table}\n\n${markdownTable(columns, spread)}`;
}

type Lengths = Distributions['lengths'] | null;

function lengthRows(read: Lengths, kept: Lengths): string[][] {
  const numberOf = (lengths: NonNullable<Lengths>, wanted: number): string =>
    count(lengths.find(({ from }) => from === wanted)?.numDocuments ?? 0);
  return lengthStarts(read ?? [], kept ?? []).map((from) => [
    `${count(from)} to ${count(2 * from - 1)}`,
    ...(read ? [numberOf(read, from)] : []),
    ...(kept ? [numberOf(kept, from)] : []),
  ]);
}

const notCounted = 'Not counted: the version was made by an older version of Temper.';

function languages({ dataset, corpus }: CardFacts): string {
  const read = dataset.distributions?.languages ?? null;
  const kept = corpus?.manifest.statistics.distributions?.languages ?? null;
  const all = new Set([...Object.keys(read ?? {}), ...Object.keys(kept ?? {})]);
  if (all.size === 0) return notCounted;
  const of = (counts: Readonly<Record<string, number>>, name: string): string =>
    count(counts[name] ?? 0);
  const weight = (name: string): number => (read ?? kept)?.[name] ?? 0;
  const rows = [...all]
    .toSorted((a, b) => weight(b) - weight(a) || (a < b ? -1 : 1))
    .map((name) => [name, ...(read ? [of(read, name)] : []), ...(kept ? [of(kept, name)] : [])]);
  const header = ['Language', ...(read ? ['As read'] : []), ...(kept ? ['Kept'] : [])];
  return `Told by the letters and the words of each document.\n\n${markdownTable(header, rows)}`;
}

function places(facts: CardFacts): string {
  const found = distributionsOf(facts, false);
  if (found === null) return notCounted;
  const { domains, dates } = found;
  const where =
    domains.top.length === 0
      ? 'No document names a place on the web as its origin.'
      : `Hosts of the web: ${namesOf(domains)}.`;
  const numDated = Object.values(dates?.years ?? {}).reduce((sum, number) => sum + number, 0);
  const when =
    dates === null
      ? 'No document has a date in its metadata.'
      : `${plural(numDated, 'document')} with a date: ${dates.first} to ${dates.last}.`;
  return `${where}\n${when}`;
}

/** The ten most frequent names, and how many more there are. */
function namesOf({ top, numOthers, numDocumentsOfOthers }: Top): string {
  const shown = top
    .slice(0, 10)
    .map(({ name, numDocuments }) => `${cell(name)} (${count(numDocuments)})`);
  const rest = top.slice(10).reduce((sum, { numDocuments }) => sum + numDocuments, 0);
  const numMore = numOthers + Math.max(0, top.length - 10);
  const more =
    numMore === 0 ? '' : ` and ${count(numMore)} more (${count(rest + numDocumentsOfOthers)})`;
  return `${shown.join(', ')}${more}`;
}

function leftOut({ dataset, corpus }: CardFacts): string {
  const groups = groupsOf(dataset, corpus?.manifest ?? null);
  if (groups.length === 0) return 'Nothing.';
  const rows = groups.map(({ reason, stage, count: number }) => [
    reasonWords(reason, stage),
    stage === 'ingest' ? 'could not be read' : 'cleaning',
    count(number),
  ]);
  const reference = `${dataset.name}@${dataset.version}`;
  return `${markdownTable(['Reason', 'When', 'Documents'], rows)}\n\nEvery one of them: \`npx temper datasets inspect ${reference} --dropped --number all\`.`;
}

/** Of a version that no run has read. */
const toCome = 'a run does that before it trains, and this card then says what came of it.';

function cleaning(manifest: CorpusManifest | null): string {
  if (manifest === null) return `The documents are as they were read. Not cleaned yet: ${toCome}`;
  const { preparation, statistics } = manifest;
  const except = preparation?.clean?.except ?? [];
  const usual = [
    'Unicode, white space and line ends of every text have one form',
    ...(except.includes('width') ? [] : ['full-width letters and digits became plain ones']),
    ...(except.includes('controls') ? [] : ['controls and invisible marks are gone']),
  ]
    .join('; ')
    .concat('.');
  if (preparation === undefined) return usual;
  const quality = preparation.quality
    ? 'Documents were judged by rules that follow their script, with the thresholds that Gopher published where words are parted by spaces.'
    : 'No document was judged by its quality (`data.quality: false`).';
  const other =
    typeof preparation.quality === 'boolean'
      ? ''
      : ` Other thresholds were asked for: \`${JSON.stringify(preparation.quality)}\`.`;
  const { cleaned = {} } = statistics;
  const counted = [...usualSteps, ...formSteps].filter((step) => cleaned[step] !== undefined);
  const named = stepsOf(preparation.clean).map(({ step }) => step);
  const steps = [...counted, ...new Set(named)].map((step) => [step, count(cleaned[step] ?? 0)]);
  const more =
    steps.length === 0
      ? ''
      : `\n\n${markdownTable(['Step', 'Documents changed or left out'], steps)}`;
  return `${usual}\n${quality}${other}${more}`;
}

function personalData({ corpus }: CardFacts, folder?: CardFolder): string {
  const raw =
    folder !== undefined && !folder.cleaned
      ? 'The documents in this folder are as they were read: personal data in them were NOT removed.\n'
      : '';
  if (corpus === null) return `${raw}Nobody looked for personal data yet: ${toCome}`;
  const { preparation, statistics } = corpus.manifest;
  if (preparation?.personalData === 'keep')
    return `${raw}The pipeline file said \`personalData: keep\`: nobody looked for personal data, and none was removed.`;
  const found = Object.entries(statistics.redacted).filter(([, number]) => number > 0);
  if (found.length === 0) return `${raw}None was found in the texts that were cleaned.`;
  const rows = found
    .toSorted(([a, one], [b, other]) => other - one || (a < b ? -1 : 1))
    .map(([kind, number]) => [personal(kind, number)]);
  return `${raw}Found while cleaning, and replaced by placeholders before anything was trained on:\n\n${rows.map(([text]) => `- ${text}`).join('\n')}`;
}

function duplicates(manifest: CorpusManifest | null): string {
  if (manifest === null) return `Nobody looked for duplicates yet: ${toCome}`;
  const { preparation, statistics } = manifest;
  const { dropped } = statistics;
  const exact = `${plural(dropped['duplicate_exact'] ?? 0, 'document')} said letter for letter what another says`;
  if (preparation?.deduplicate?.near === false) {
    return `${exact}; one of each group was kept. Nobody looked for what is almost the same (\`near: false\`).`;
  }
  return (
    `${exact}, and ${count(dropped['duplicate_near'] ?? 0)} almost the same ` +
    '(found by MinHash); one of each group was kept.'
  );
}

function contamination(manifest: CorpusManifest | null): string {
  if (manifest === null) return `Nobody looked for what evaluation sets say yet: ${toCome}`;
  const { preparation, statistics } = manifest;
  const sets = preparation?.decontaminate;
  if (sets === undefined) {
    return 'No evaluation sets were named, so nobody looked for what they say: a model trained on this may have read their answers.';
  }
  return `Held against ${sets.map((set) => `\`${set}\``).join(', ')} by 13-grams: ${plural(statistics.dropped['contaminated'] ?? 0, 'document')} left out.`;
}

const likelyWords = { address: 'addresses', name: 'names' };

function limits({ dataset, corpus }: CardFacts, folder?: CardFolder): string {
  const found: string[] = [];
  const manifest = corpus?.manifest ?? null;
  const numUnread = Object.values(dataset.dropped).reduce((sum, number) => sum + number, 0);
  const numFound = dataset.numDocuments + numUnread;
  if (numUnread > 0)
    found.push(
      `${percent(numUnread / numFound)} of what was found could not be read, and nobody knows what it says.`,
    );
  const unclear = Object.entries(dataset.distributions?.languages ?? {})
    .filter(([language]) => !/^[a-z]{2,3}(-|$)/.test(language))
    .reduce((sum, [, number]) => sum + number, 0);
  if (unclear > 0)
    found.push(`The language of ${plural(unclear, 'document')} is known by its script alone.`);
  const kinds = manifest?.preparation && kindsOf(manifest.preparation.personalData);
  const missing = likelyKinds.filter((kind) => kinds?.includes(kind) === false);
  if (folder?.cleaned !== false && manifest !== null && missing.length > 0)
    found.push(
      `Of personal data, ${missing.map((kind) => likelyWords[kind]).join(' and ')} were not looked for.`,
    );
  if (kinds !== undefined && kinds.length > 0)
    found.push(
      'Personal data are found by their form and check digits; what has another form is missed.',
    );
  if (manifest !== null && manifest.statistics.distributions === undefined)
    found.push('How the kept documents spread over languages and lengths was not counted.');
  found.push(
    'Licences are those that the pipeline file or the documents state; nobody has verified them.',
  );
  return found.map((line) => `- ${line}`).join('\n');
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(header), `|${header.map(() => ' --- |').join('')}`, ...rows.map(line)].join('\n');
}

/** Text from outside on one line, with nothing in it that Markdown or HTML would obey. */
function cell(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .replaceAll(/[\\`*_[\]<>|]/g, '\\$&');
}
