/** Canonical JSON: the one byte form of a value, so that its digest is the same everywhere. */
import { z } from 'zod';

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');

/** Immutable bytes in the registry, named by what they are. */
export const blobRefSchema = z.strictObject({
  sha256: sha256Schema.describe('SHA-256 of the bytes, lowercase hex'),
  bytes: z.number().int().nonnegative().describe('length in bytes, as they are stored'),
  sealed: z
    .exactOptional(z.string())
    .describe('id of the data key that the bytes are encrypted with; left out, they are plain'),
});
export type BlobRef = z.infer<typeof blobRefSchema>;

/** JSON with sorted keys and no white space (RFC 8785 for the values that we use); undefined fields are left out. */
export function canonicalJson(value: unknown): string {
  // The engine's own way is several times faster, and gives the same where the keys are in order.
  return isSorted(value) ? JSON.stringify(value) : canonical(value);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item ?? null)).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`);
    return `{${fields.join(',')}}`;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new TypeError(`canonical JSON: found ${value}, expected a finite number`);
  }
  return JSON.stringify(value);
}

/** Whether a value consists of plain objects with sorted keys, arrays, strings, booleans and finite numbers. */
function isSorted(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null)
    return typeof value === 'string' || typeof value === 'boolean' || value === null;
  if (Array.isArray(value)) return value.every(isSorted);
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  let before = '';
  for (const [key, field] of Object.entries(value)) {
    if (key < before || !isSorted(field)) return false;
    before = key;
  }
  return true;
}
