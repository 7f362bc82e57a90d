/** robots.txt as RFC 9309 has it: the group that names us, else that of all; the longest path that matches decides. */

export interface Robots {
  allows: (path: string) => boolean;
  /** Between two requests, where the file asks for it. */
  delayMs: number | null;
}

interface Rule {
  allow: boolean;
  path: string;
}

const maxRules = 10_000;
const maxDelayMs = 30_000;

export const allowAll: Robots = { allows: () => true, delayMs: null };
export const allowNone: Robots = { allows: () => false, delayMs: null };

/** The rules for an agent, by the first word of its name. */
export function parseRobots(text: string, agent: string): Robots {
  const groups: { agents: string[]; rules: Rule[]; delayMs: number | null }[] = [];
  let inRules = true;
  for (const line of text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)) {
    const [, field = '', value = ''] = /^\s*([\w-]+)\s*:\s*([^#]*?)\s*(#.*)?$/.exec(line) ?? [];
    const group = groups.at(-1);
    switch (field.toLowerCase()) {
      case 'user-agent':
        if (inRules || group === undefined) groups.push({ agents: [], rules: [], delayMs: null });
        groups.at(-1)!.agents.push(value.toLowerCase());
        inRules = false;
        break;
      case 'allow':
      case 'disallow':
        inRules = true;
        if (value !== '' && group !== undefined && group.rules.length < maxRules) {
          group.rules.push({ allow: field.toLowerCase() === 'allow', path: value });
        }
        break;
      case 'crawl-delay':
        inRules = true;
        if (group !== undefined && Number(value) >= 0) group.delayMs = Number(value) * 1000;
        break;
      default:
    }
  }
  const name = agent.toLowerCase();
  const ours = groups.filter(({ agents }) => agents.includes(name));
  const taken = ours.length > 0 ? ours : groups.filter(({ agents }) => agents.includes('*'));
  const rules = taken
    .flatMap((group) => group.rules)
    .toSorted((a, b) => b.path.length - a.path.length || Number(b.allow) - Number(a.allow));
  const delays = taken.flatMap(({ delayMs }) => (delayMs === null ? [] : [delayMs]));
  return {
    allows: (path) =>
      path === '/robots.txt' || (rules.find((rule) => matches(rule.path, path))?.allow ?? true),
    delayMs: delays.length === 0 ? null : Math.min(maxDelayMs, Math.max(...delays)),
  };
}

/** `*` stands for anything, `$` at the end for the end; in time that grows with the lengths alone. */
function matches(pattern: string, path: string): boolean {
  const toEnd = pattern.endsWith('$');
  const parts = (toEnd ? pattern.slice(0, -1) : pattern).split('*');
  if (!path.startsWith(parts[0]!)) return false;
  let at = parts[0]!.length;
  for (const part of parts.slice(1, toEnd ? -1 : undefined)) {
    const found = path.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  if (!toEnd) return true;
  const last = parts.length === 1 ? '' : parts.at(-1)!;
  return parts.length === 1
    ? at === path.length
    : path.length - last.length >= at && path.endsWith(last);
}
