/** What is found of labelled personal data, and what of it is none: made-up people of Presidio's set, and numbers made here. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { certainKinds, personalDataKinds, type PersonalData } from '../config/personal-data.ts';
import { locate } from '../corpus/redact.ts';
import { defineBench, say } from './support/bench.ts';
import { madeUp, type Labelled } from './support/made-up-people.ts';

const settings = z.strictObject({
  data: z.string().describe('folder with eval/pii/presidio_synth_v2.json.gz'),
  made: z.number().int().min(100).default(400).describe('texts to make of each other kind'),
});

const labels: Record<string, PersonalData> = {
  EMAIL_ADDRESS: 'email',
  PHONE_NUMBER: 'phone',
  CREDIT_CARD: 'card',
  IBAN_CODE: 'iban',
  US_SSN: 'us_ssn',
  IP_ADDRESS: 'ip',
  STREET_ADDRESS: 'address',
  PERSON: 'name',
};

export interface Score {
  labelled: number;
  recall: number;
  precision: number;
}

/** Recall and precision of each kind: a find counts where it overlaps a label of its kind. */
export function scoresOf(texts: readonly Labelled[]): Partial<Record<PersonalData, Score>> {
  const counts = new Map<
    PersonalData,
    [labelled: number, met: number, found: number, right: number]
  >();
  const of = (kind: PersonalData) => {
    const found = counts.get(kind) ?? [0, 0, 0, 0];
    counts.set(kind, found);
    return found;
  };
  for (const { text, spans } of texts) {
    const found = locate(text, personalDataKinds);
    const overlaps = (a: Labelled['spans'][number], b: Labelled['spans'][number]): boolean =>
      a.kind === b.kind && a.start < b.end && b.start < a.end;
    for (const span of spans) {
      of(span.kind)[0] += 1;
      if (found.some((other) => overlaps(span, other))) of(span.kind)[1] += 1;
    }
    for (const span of found) {
      of(span.kind)[2] += 1;
      if (spans.some((other) => overlaps(span, other))) of(span.kind)[3] += 1;
    }
  }
  const share = (part: number, whole: number): number => (whole === 0 ? 1 : part / whole);
  return Object.fromEntries(
    [...counts].map(([kind, [labelled, met, found, right]]) => [
      kind,
      { labelled, recall: share(met, labelled), precision: share(right, found) },
    ]),
  );
}

const presidioSchema = z.array(
  z.object({
    full_text: z.string(),
    spans: z.array(
      z.object({ entity_type: z.string(), start_position: z.number(), end_position: z.number() }),
    ),
  }),
);

/** Presidio's synthetic sentences with the labels that we look for; others count as nothing personal. */
export function readPresidio(folder: string): Labelled[] {
  const file = path.join(folder, 'eval/pii/presidio_synth_v2.json.gz');
  if (!existsSync(file))
    throw new Error(`found no ${file}; say with --data where the data sets are.`);
  const records = presidioSchema.parse(JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')));
  return records.map(({ full_text: text, spans }) => ({
    text,
    spans: spans.flatMap(({ entity_type: type, start_position: start, end_position: end }) => {
      const kind = labels[type];
      return kind === undefined ? [] : [{ kind, start, end }];
    }),
  }));
}

export const personalData = defineBench({
  name: 'personal-data',
  summary: 'recall and precision of each kind of personal data, on labelled sentences',
  settings,
  measure: async ({ data, made }) => {
    const presidio = scoresOf(readPresidio(data));
    const other = scoresOf(madeUp(made));
    const kinds: Record<string, Score & { on: string }> = {};
    for (const kind of personalDataKinds) {
      const score = presidio[kind] ?? other[kind];
      // What was found where none of the kind was labelled says too little by itself.
      if (score === undefined || score.labelled === 0) continue;
      kinds[kind] = { ...score, on: presidio[kind] === undefined ? 'made here' : 'presidio' };
      say(
        `${kind.padEnd(12)} ${kinds[kind].on.padEnd(10)} ${String(score.labelled).padStart(5)} labelled, ` +
          `recall ${score.recall.toFixed(3)}, precision ${score.precision.toFixed(3)}`,
      );
    }
    const certain = certainKinds.flatMap((kind) => kinds[kind] ?? []);
    return {
      figures: { kinds },
      bounds: [
        {
          name: 'least recall of the kinds that are on',
          value: Math.min(...certain.map(({ recall }) => recall)),
          min: 0.95,
        },
        {
          name: 'least precision of any kind',
          value: Math.min(...Object.values(kinds).map(({ precision }) => precision)),
          min: 0.95,
        },
      ],
    };
  },
});
