/** A Markdown document: its front matter becomes metadata, its text stays as it was written. */
import { parseDocument } from 'yaml';
import type { Metadata } from './formats/types.ts';

/** A longer block between dashes at the beginning is text, not front matter. */
const maxFrontMatter = 64 * 1024;

/** Front matter that is no YAML map is left in the text, for nothing may be lost silently. */
export function readMarkdown(text: string): { text: string; metadata: Metadata } {
  const whole = { text, metadata: {} };
  const opening = /^---[ \t]*\r?\n/.exec(text);
  if (opening === null) return whole;
  const start = opening[0].length;
  const ending = /^(?:---|\.\.\.)[ \t]*(?:\r?\n|$)/m;
  const closing = ending.exec(text.slice(start, start + maxFrontMatter));
  if (closing === null) return whole;
  const fields = mapOf(text.slice(start, start + closing.index));
  if (fields === null) return whole;
  const rest = text.slice(start + closing.index + closing[0].length);
  return { text: rest.replace(/^(?:[ \t]*\r?\n)+/, ''), metadata: metadataOf(fields) };
}

function mapOf(yaml: string): Record<string, unknown> | null {
  try {
    const document = parseDocument(yaml, {
      schema: 'core',
      prettyErrors: false,
      logLevel: 'silent',
    });
    if (document.errors.length > 0) return null;
    const value: unknown = document.toJS({ maxAliasCount: 10 });
    if (value === null && yaml.trim() === '') return {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return value as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** The single values; lists and maps have no place in a question. */
function metadataOf(fields: Record<string, unknown>): Metadata {
  const metadata: Metadata = {};
  for (const [field, value] of Object.entries(fields)) {
    if (value === null || typeof value === 'string' || typeof value === 'boolean')
      metadata[field] = value;
    else if (typeof value === 'number' && Number.isFinite(value)) metadata[field] = value;
  }
  return metadata;
}
