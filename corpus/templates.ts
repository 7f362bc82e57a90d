/** Phrasings with `{field}` in them, filled from the metadata of a document. */
import type { Document } from '../config/manifests.ts';

const field = /\{([^{}]+)\}/g;

/** The template with its fields filled; null when the document lacks one of them. */
export function fillTemplate(template: string, metadata: Document['metadata']): string | null {
  let whole = true;
  const filled = template.replaceAll(field, (_, name: string) => {
    const value = Object.hasOwn(metadata, name) ? metadata[name] : null;
    if (value === null || value === undefined || value === '') whole = false;
    return String(value);
  });
  return whole ? filled : null;
}
