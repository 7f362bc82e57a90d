/** Keys, tokens and passwords, by the forms that their issuers publish, or by how little can be guessed of them. */
import { matches, type Detector, type Span } from './detector.ts';

const known = new RegExp(
  [
    // AWS, GitHub, GitLab, Slack, Google, Stripe, OpenAI and Anthropic, npm, PyPI, SendGrid, Hugging Face
    String.raw`(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])`,
    String.raw`(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[\w-]{20,64})`,
    String.raw`(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,250}`,
    String.raw`https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,120}`,
    String.raw`(?<![A-Za-z0-9])AIza[\w-]{35}(?![\w-])`,
    String.raw`(?<![A-Za-z0-9])[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}`,
    String.raw`(?<![A-Za-z0-9])sk-(?:(?:proj|ant|svcacct)-)?[\w-]{32,250}`,
    String.raw`(?<![A-Za-z0-9])(?:npm_[A-Za-z0-9]{36}|pypi-AgEIcHlwaS5vcmc[\w-]{50,250}|SG\.[\w-]{22}\.[\w-]{43}|hf_[A-Za-z]{34})(?![\w-])`,
    // a JSON Web Token: both parts begin with {" in base64
    String.raw`(?<![\w-])eyJ[\w-]{8,4096}\.eyJ[\w-]{8,8192}\.[\w-]{8,2048}`,
    String.raw`-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\w+/=:,.-]{1,12000}?-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----`,
  ].join('|'),
  'g',
);
const mayBeKnown =
  /A(?:KIA|SIA|BIA|CCA)[A-Z2-7]|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hooks\.slack|AIza|[sr]k_(?:live|test)_|sk-[\w-]{32}|npm_|pypi-|SG\.|hf_|eyJ|-----BEGIN /;

const assignment =
  /(?<![\w-])[\w.-]{0,40}(?:api[_-]?key|access[_-]?key|secret|token|passwd|password|credential|private[_-]?key)[\w.-]{0,20}["']?\s{0,3}(?::=|=>|[:=])\s{0,3}["'`]?([^\s"'`<>,;(){}]{12,256})/gi;
const mayBeAssigned = /(?:key|secret|token|passw(?:or)?d|credential)[\w.-]{0,20}["']?\s{0,3}[:=]/i;

export const secret: Detector = {
  kind: 'secret',
  place: 'token',
  mayBe: (text) => mayBeKnown.test(text) || mayBeAssigned.test(text),
  *find(text): Generator<Span> {
    const spans = [...matches(text, known)];
    for (const match of text.matchAll(assignment)) {
      const value = match[1]!;
      if (!guessless(value)) continue;
      const end = match.index + match[0].length;
      spans.push([end - value.length, end]);
    }
    let reached = 0;
    for (const [start, end] of spans.toSorted((a, b) => a[0] - b[0] || b[1] - a[1])) {
      if (start < reached) continue;
      reached = end;
      yield [start, end];
    }
  },
};

/** Letters and digits mixed, and more than 3.2 bits a character: a word, a path or a version has less. */
function guessless(value: string): boolean {
  if (
    !/\d/.test(value) ||
    !/[A-Za-z]/.test(value) ||
    /^(?:https?:|[./~$]|\w+\.\w+\.|env|process)/i.test(value)
  )
    return false;
  // A name of several words has few digits, and all of them at one place.
  if (/^[a-z]+(?:[-_.][a-z]+)*[-_.]?\d{0,4}$/i.test(value)) return false;
  const counts = new Map<string, number>();
  for (const character of value) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values())
    bits -= (count / value.length) * Math.log2(count / value.length);
  return bits > 3.2;
}
