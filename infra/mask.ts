/** Takes out of a text what opens doors, so that it can be shown to others. */

const masked = '«masked»';

/** Names after which a value is a secret, as in JSON, headers, environments and query strings. */
const secretName =
  '(?:[\\w-]*(?:api[_-]?key|data[_-]?key|access[_-]?key(?:[_-]?id)?|secret(?:[_-]?access[_-]?key)?|password|passwd|credential|session[_-]?token|auth[_-]?token|access[_-]?token|signature)|authorization|x-amz-[\\w-]*(?:signature|credential|token))';

const patterns: [RegExp, string][] = [
  [/-----BEGIN [^-]+-----[\s\S]*?(?:-----END [^-]+-----|$)/g, masked],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${masked}`],
  [
    new RegExp(`(${secretName}\\\\?["']?\\s*[:=]\\s*\\\\?["']?)(?!«)[^\\s"',;&}\\\\]+`, 'gi'),
    `$1${masked}`,
  ],
  [/([a-z][a-z0-9+.-]*:\/\/)[^/\s:@]*:[^/\s@]+@/gi, `$1${masked}@`],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g, masked],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b/g, masked],
  [/\b(?:sk|hf|ghp|gho|glpat|xox[abp]|temper)[-_][\w-]{20,}/g, masked],
];

/** Masks the values given, and whatever looks like a secret. */
export function maskSecrets(text: string, secrets: Iterable<string> = []): string {
  let shown = text;
  const known = [...secrets].filter((secret) => secret.length >= 6);
  // A secret that is part of another one must not break it up.
  for (const secret of known.toSorted((a, b) => b.length - a.length)) {
    shown = shown.replaceAll(secret, masked);
  }
  for (const [pattern, replacement] of patterns) shown = shown.replaceAll(pattern, replacement);
  return shown;
}

/** The values of an environment's variables that sound like secrets. */
export function secretsOf(env: Record<string, string | undefined>): string[] {
  const sounds = /(KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL)/;
  const harmless = /(_FILE|_PATH|_ID)$/;
  return Object.entries(env).flatMap(([name, value]) =>
    value !== undefined && sounds.test(name) && !(harmless.test(name) && !name.includes('KEY_ID'))
      ? [value]
      : [],
  );
}
