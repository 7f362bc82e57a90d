/** The pages that people read, taken apart: what they tell one to type, show and open. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export const project = path.resolve(import.meta.dirname, '../..');

export interface Block {
  language: string;
  lines: string[];
  /** Of its first line, in the page. */
  line: number;
}

export interface Page {
  /** Path in the project. */
  name: string;
  blocks: Block[];
  /** Inline code. */
  spans: string[];
  /** Targets of links. */
  links: string[];
  /** Anchors of headings, as GitHub makes them. */
  anchors: Set<string>;
}

const programs = /^(npx|npm|git|bash|sh|cp|curl|python|node)\s/;

/** README in both languages, the guides, and the pages that they lead to. */
export function readPages(): Page[] {
  const guides = readdirSync(path.join(project, 'docs/guides'))
    .filter((file) => file.endsWith('.md'))
    .toSorted()
    .map((file) => `docs/guides/${file}`);
  const names = ['README.md', 'README.zh-TW.md', ...guides, 'docs/architecture.md'];
  return [...names, 'CONTRIBUTING.md'].map(readPage);
}

/** One page. */
export function readPage(name: string): Page {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let open: Block | null = null;
  for (const [index, text] of readFileSync(path.join(project, name), 'utf8')
    .split('\n')
    .entries()) {
    const fence = /^```(\w*)$/.exec(text);
    if (open !== null && fence !== null) {
      blocks.push(open);
      open = null;
    } else if (fence !== null) {
      open = { language: fence[1]!, lines: [], line: index + 2 };
    } else if (open !== null) {
      open.lines.push(text);
    } else if (!text.startsWith('    ')) {
      prose.push(text);
    }
  }
  if (open !== null) throw new Error(`${name}: a block begins at line ${open.line} and never ends`);
  // A paragraph may break inside of code.
  const paragraphs = prose.join('\n').split(/\n(?=\n|[-|#])/);
  const joined = paragraphs.map((paragraph) => paragraph.replaceAll('\n', ' '));
  const spans = joined.flatMap((text) =>
    Array.from(text.matchAll(/`([^`]+)`/g), ([, code]) => code!.replaceAll(/\s+/g, ' ').trim()),
  );
  const links = joined.flatMap((text) =>
    Array.from(text.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^)]+)\)/g), ([, to]) => to!),
  );
  const anchors = prose.flatMap((text) => {
    const heading = /^#+ (.+)$/.exec(text);
    return heading === null ? [] : [anchorOf(heading[1]!)];
  });
  return { name, blocks, spans, links, anchors: new Set(anchors) };
}

function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');
}

/** Whether a block is to be typed, not what a program answered. */
export function isTyped({ language, lines }: Block): boolean {
  return language === '' && programs.test(lines[0] ?? '');
}

export interface Typed {
  /** As it stands there, without its comment. */
  text: string;
  words: string[];
}

/** Every command of a page, in order: the lines of its blocks, then those inside of sentences. */
export function commandsOf(page: Page): Typed[] {
  const lines = page.blocks.filter(isTyped).flatMap((block) => block.lines);
  const inline = page.spans.filter((span) => programs.test(span));
  return [...lines, ...inline]
    .filter((line) => line.trim() !== '')
    .flatMap((line) => wordsOf(line))
    .map((words) => ({ text: words.join(' '), words }));
}

/** The words of each command of a line, as a shell would part them; comments are gone. */
export function wordsOf(line: string): string[][] {
  const commands: string[][] = [[]];
  const token = /\s+|(#.*$)|(&&)|((?:"[^"]*"|'[^']*'|[^\s"'])+)/gy;
  for (const [, , and, word] of line.matchAll(token)) {
    if (and !== undefined) commands.push([]);
    else if (word !== undefined) {
      if (word === '&&') commands.push([]);
      else commands.at(-1)!.push(word.replaceAll(/["']/g, ''));
    }
  }
  return commands.filter((words) => words.length > 0);
}
