/** Names of objects. A part that comes from outside may not leave its folder. */

/** One part of a key, checked. */
export function keyPart(what: string, part: string | number): string {
  const text = String(part);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text)) {
    throw new Error(
      `${what} ${JSON.stringify(part)} cannot be part of a key: expected letters, digits, dots, dashes and underscores.`,
    );
  }
  return text;
}

/** Numbers in keys are padded, so that a listing is in order. */
export function padded(value: number, digits: number): string {
  return String(value).padStart(digits, '0');
}

/** The number in `…/000007.json`, or null for a key of another form. */
export function versionOfKey(key: string): number | null {
  const match = /\/(\d+)\.json$/.exec(key);
  return match?.[1] === undefined ? null : Number(match[1]);
}
