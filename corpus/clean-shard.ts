/** Everything that is done to one shard on its own: clean, redact, judge, fingerprint. CPU-bound, so it runs in a worker thread. */
import { applies, qualityRulesOf, type Quality } from '../config/cleaning-thresholds.ts';
import { stepsOf, type Cleaning, type Step } from '../config/cleaning.ts';
import type { Document, DroppedDocument } from '../config/manifests.ts';
import { nearOf, type Deduplication } from '../config/deduplication.ts';
import { kindsOf, type PersonalDataOption } from '../config/personal-data.ts';
import { scriptShares } from './characters.ts';
import { cleanText } from './clean.ts';
import { changeText, repairFirst, stepsRefusal, type StepCounts } from './cleaning/steps.ts';
import type { Contamination } from './contamination.ts';
import { languageOf } from './languages.ts';
import { hashesOf, signatureOf } from './minhash.ts';
import type { Refusal } from './decode.ts';
import { digestOf } from './order.ts';
import { qualityRefusal } from './quality.ts';
import { redact } from './redact.ts';
import { WordRoom, wordsOf } from './words.ts';

export interface CleanOptions {
  personalData: PersonalDataOption;
  quality: Quality;
  clean?: Cleaning;
  /** Those whose documents stay; left out, all. */
  languages?: readonly string[] | undefined;
  /** By what the documents will be compared. */
  deduplicate?: Deduplication;
  /** What evaluation sets say. */
  contamination?: Contamination;
}

export interface CleanedShard {
  documents: Document[];
  /** SHA-256 of each kept document's text. */
  contents: string[];
  /** The bands of all kept documents, one after the other. */
  bands: Uint32Array;
  /** Their sketches, likewise. */
  sketches: Uint8Array;
  dropped: DroppedDocument[];
  /** Of each kept document, for counting again after duplicates are gone. */
  sizes: DocumentSize[];
  redacted: Record<string, number>;
  /** Documents that each step changed or left out. */
  cleaned: StepCounts;
}

export interface DocumentSize {
  bytes: number;
  characters: number;
  script: string;
}

/** Cleans documents one by one; `onDocument` hears of each, so that the caller can tell progress. */
export function cleanShard(
  raw: readonly Document[],
  options: CleanOptions,
  onDocument: (numDocuments: number) => void = () => {},
): CleanedShard {
  const documents: Document[] = [];
  const contents: string[] = [];
  const dropped: DroppedDocument[] = [];
  const sizes: DocumentSize[] = [];
  const redacted: Record<string, number> = {};
  const near = nearOf(options.deduplicate);
  const [numBands, numHashes] = [near.bands, hashesOf(near)];
  const bands = new Uint32Array(raw.length * numBands * 2);
  const sketches = new Uint8Array(raw.length * numHashes);
  const kinds = kindsOf(options.personalData);
  const { languages } = options;
  const rules = qualityRulesOf(options.quality);
  const steps: Step[] = stepsOf(options.clean);
  if (languages !== undefined) steps.push({ step: 'language', keep: languages });
  const usual = {
    width: options.clean?.except?.includes('width') !== true,
    controls: options.clean?.except?.includes('controls') !== true,
  };
  const stepCounts: StepCounts = {};
  const cleaned = (text: string, counts: StepCounts): string => {
    // A text is cleaned again after the steps, and counts once.
    const usually = new Set<string>();
    const inOneForm = (some: string): string => cleanText(some, usual, (step) => usually.add(step));
    let clean = inOneForm(repairFirst(text, steps, counts));
    const changed = changeText(clean, steps, counts);
    if (changed !== clean) clean = inOneForm(changed);
    for (const step of usually) counts[step] = (counts[step] ?? 0) + 1;
    return clean;
  };
  const purge = (text: string, counts: StepCounts): string => {
    const clean = cleaned(text, counts);
    if (kinds.length === 0) return clean;
    const result = redact(clean, kinds);
    for (const [kind, count] of Object.entries(result.counts))
      redacted[kind] = (redacted[kind] ?? 0) + count;
    return result.text;
  };
  // The steps count documents, not fields.
  const stepsOfFields = {};
  const room = new WordRoom();
  for (const [index, document] of raw.entries()) {
    const { id, source } = document;
    const text = purge(document.text, stepCounts);
    const { main: script, letters } = scriptShares(text);
    const words = wordsOf(text, room);
    let known: string | null = null;
    const language = (): string => (known ??= languageOf(text));
    const unworthy = (): Refusal | null => {
      for (const thresholds of rules) {
        if (!applies(thresholds, language)) continue;
        const found = qualityRefusal(text, script, words, thresholds);
        if (found !== null) return found;
      }
      return null;
    };
    const refusal =
      text === '' || (letters === 0 && words.hashes.length === 0)
        ? { reason: 'empty', detail: 'found no letter or digit after cleaning' }
        : (unworthy() ??
          stepsRefusal({ text, script, words }, steps, stepCounts, language) ??
          options.contamination?.refusal(text, words) ??
          null);
    if (refusal !== null) {
      const { reason, detail } = refusal;
      // In this order they need not be sorted for their canonical form.
      dropped.push({ detail, id, reason, ...(text !== '' && { sample: sampleOf(text) }), source });
    } else {
      const metadata = Object.fromEntries(
        Object.entries(document.metadata).map(([field, value]) => [
          field,
          purgedField(value, (said) => purge(said, stepsOfFields)),
        ]),
      );
      const signature = signatureOf(text, script, words, near);
      bands.set(signature.bands, documents.length * numBands * 2);
      sketches.set(signature.sketch, documents.length * numHashes);
      documents.push({ id, metadata, source, text });
      contents.push(digestOf(text));
      const bytes = Buffer.byteLength(text);
      const characters = bytes === text.length ? bytes : numCharacters(text);
      sizes.push({ bytes, characters, script });
    }
    onDocument(index + 1);
  }
  return {
    documents,
    contents,
    bands: bands.slice(0, documents.length * numBands * 2),
    sketches: sketches.slice(0, documents.length * numHashes),
    dropped,
    sizes,
    redacted,
    cleaned: stepCounts,
  };
}

/** The beginning of a cleaned text, for a person who wants to know what was dropped. */
export function sampleOf(text: string): string {
  // A character of two units is not cut in two.
  return text.slice(0, 300).replace(/[\uD800-\uDBFF]$/, '');
}

/** Code points, so that one emoji or rare Han character counts once. */
export function numCharacters(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xdc00 && unit <= 0xdfff) count -= 1;
  }
  return count;
}

/** A number is somebody's as much as a text: one that is, is no number any more. */
function purgedField<T>(value: T, purge: (said: string) => string): T | string {
  if (typeof value === 'string') return purge(value);
  if (typeof value !== 'number') return value;
  const said = String(value);
  const purged = purge(said);
  return purged === said ? value : purged;
}
