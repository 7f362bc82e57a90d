/** Figures in words for people, the same everywhere in the report. */
import { inHours } from '../../config/durations.ts';

/** 12,345. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** 3.4 million, 12,345. */
export function large(value: number): string {
  return value >= 1e9
    ? `${trim(value / 1e9)} billion`
    : value >= 1e6
      ? `${trim(value / 1e6)} million`
      : count(value);
}

function trim(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1).replace(/\.?0+$/, '');
}

/** 4.1 MB. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} KB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** 8 s, 14 min 2 s, 1 h 4 min. */
export function duration(ms: number): string {
  if (ms > 0 && ms < 1000) return `${Math.round(ms)} ms`;
  const { h, m, s } = inHours(Math.max(0, ms));
  if (h > 0) return m === 0 ? `${h} h` : `${h} h ${m} min`;
  if (m > 0) return s === 0 ? `${m} min` : `${m} min ${s} s`;
  return `${s} s`;
}

/** 2026-11-22 08:14 UTC. */
export function when(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

/** 39.9 %. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** 1 document, 2 documents. */
export function plural(amount: number, one: string, many = `${one}s`): string {
  return `${count(amount)} ${amount === 1 ? one : many}`;
}

/** ×0.5 from step 812. */
export function rateWords({ step, scale }: { step: number; scale: number }): string {
  return `×${Number(scale.toPrecision(3))} from step ${count(step)}`;
}

/** held-out text 0.755 → 0.669 bits a byte. */
export function adaptedWords({
  valBpbBefore,
  valBpb,
}: {
  valBpbBefore: number;
  valBpb: number;
}): string {
  return `held-out text ${valBpbBefore.toFixed(3)} → ${valBpb.toFixed(3)} bits a byte`;
}

/** SmolLM2-135M-Instruct (Apache-2.0). */
export function baseWords({ title, license }: { title: string; license: string | null }): string {
  return `${title} (${license ?? 'licence not known here'})`;
}

/** duplicate_exact is "duplicate exact". */
export function words(name: string): string {
  return name.replaceAll('_', ' ');
}

const drops: Record<string, string> = {
  duplicate_exact: 'the same text, letter for letter',
  duplicate_near: 'almost the same text',
  empty: 'no letter or digit after cleaning',
  letters: 'too few letters among the signs',
  word_length: 'words that are too long or too short on average',
  common_words: 'no common words of a known language',
  repeated_phrase: 'one phrase fills too much of the text',
  symbols: 'too many hashes or ellipses',
  contaminated: 'says what an evaluation set says',
  needs_ocr: 'a scan without text',
  pages_need_ocr: 'pages that are pictures; the text of the others is kept',
  part_unreadable: 'a part of a letter; the rest of it is kept',
  undecodable: 'bytes of no known encoding',
};

/** Of what could not be read, where the same word means something else. */
const unread: Record<string, string> = { empty: 'nothing in it' };

/** What a reason means, where its name does not say it; ingest and preprocess may mean different things by it. */
export function reasonWords(reason: string, stage: 'ingest' | 'preprocess' = 'preprocess'): string {
  const meaning = (stage === 'ingest' ? unread[reason] : undefined) ?? drops[reason];
  return meaning === undefined ? words(reason) : `${words(reason)}: ${meaning}`;
}

const metrics: Record<string, string> = {
  valBpb: 'bits a byte on text never trained on (less is better)',
  'questions.accuracy': 'answers right, in phrasings not trained on',
  'preferences.accuracy': 'better answer preferred',
  'masked.accuracy': 'hidden words foretold, in text never trained on',
  'masked.loss': 'nats a hidden word of text never trained on (less is better)',
  'retrieval.accuracy': 'passages never trained on, found by their other half',
};

/** What a metric measures. */
export function metricWords(metric: string): string {
  return metrics[metric] ?? metric;
}

/** A metric's value in its unit. */
export function metricValue(metric: string, value: number): string {
  return metric.endsWith('.accuracy') ? percent(value) : value.toFixed(3);
}
