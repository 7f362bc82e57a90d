/** Canonical JSON: the one byte form of a value, so that its digest is the same everywhere. */
import { z } from 'zod';

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');

/** Immutable bytes in the registry, named by what they are. */
export const blobRefSchema = z.strictObject({
  sha256: sha256Schema.describe('SHA-256 of the bytes, lowercase hex'),
  bytes: z.number().int().nonnegative().describe('length in bytes'),
});
export type BlobRef = z.infer<typeof blobRefSchema>;

/** JSON with sorted keys and no white space (RFC 8785 for the values that we use); undefined fields are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value))
    return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
    return `{${fields.join(',')}}`;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new TypeError(`canonical JSON: found ${value}, expected a finite number`);
  }
  return JSON.stringify(value);
}
