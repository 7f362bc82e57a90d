/** When a document is from, as the fields that name a time say it. */
import type { Document } from '../config/manifests.ts';

const dateFields =
  'date published published_at publication_date created created_at timestamp time year updated modified'.split(
    ' ',
  );
const isoDate =
  /^(1\d{3}|2[01]\d{2})(?:[-/]?(0[1-9]|1[0-2])(?:[-/]?(0[1-9]|[12]\d|3[01]))?)?(?!\d)/;

/** A day, a month or a year, as far as the metadata say it in the order of ISO 8601. */
export function dateOf(metadata: Document['metadata']): string | null {
  for (const field of dateFields) {
    const value = metadata[field];
    if (typeof value !== 'string' && typeof value !== 'number') continue;
    const found = isoDate.exec(String(value));
    if (found === null) continue;
    return found.slice(1).filter(Boolean).join('-');
  }
  return null;
}
