/**
 * `npm run bench -- html --data <folder>`: the main content of labelled pages, by ours and by trafilatura in the same run.
 * Scored as the article extraction benchmark of Zyte does: shingles of four words, precision and recall a page.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { execa } from 'execa';
import { z } from 'zod';
import { bytesOf } from '../corpus/formats/bytes.ts';
import { cursor } from '../corpus/formats/cursor.ts';
import { mainContent } from '../corpus/main-content.ts';
import { defineBench, say } from './support/bench.ts';

const trafilatura = ['trafilatura==2.0.0', 'lxml[html-clean]==6.0.2'];
const projectDir = path.dirname(import.meta.dirname);
const labelsSchema = z.record(z.string(), z.object({ articleBody: z.string() }));
const replySchema = z.union([
  z.object({ page: z.string(), text: z.string() }),
  z.object({ seconds: z.number() }),
]);

export const html = defineBench({
  name: 'html',
  summary: 'main content of labelled pages: F1 and speed, ours beside trafilatura',
  settings: z.strictObject({
    data: z.string().describe('folder with web/article_extraction/html.tar and ground-truth.json'),
    home: z.string().default('.temper/bench/html').describe('where the peer is installed'),
  }),
  measure: async ({ data, home }) => {
    const folder = path.join(path.resolve(data), 'web', 'article_extraction');
    const labels = labelsSchema.parse(
      JSON.parse(await readFile(path.join(folder, 'ground-truth.json'), 'utf8')),
    );
    const pages = await pagesOf(path.join(folder, 'html.tar'));
    const megabytes =
      [...pages.values()].reduce((sum, page) => sum + Buffer.byteLength(page), 0) / 1e6;
    mainContent('<p>warm</p>');
    const began = performance.now();
    const found = new Map([...pages].map(([page, text]) => [page, mainContent(text).text]));
    const seconds = (performance.now() - began) / 1000;
    const peer = await byTrafilatura(pages, path.resolve(home));
    const figures = {
      pages: pages.size,
      megabytes,
      ours: { ...scores(labels, found), megabytesPerSecond: megabytes / seconds },
      trafilatura: {
        ...scores(labels, peer.found),
        megabytesPerSecond: megabytes / peer.seconds,
      },
    };
    for (const name of ['ours', 'trafilatura'] as const) {
      const { f1, precision, recall, megabytesPerSecond } = figures[name];
      say(
        `${name.padEnd(12)} F1 ${f1.toFixed(3)}  precision ${precision.toFixed(3)}  recall ${recall.toFixed(3)}  ${megabytesPerSecond.toFixed(1)} MB/s`,
      );
    }
    return {
      figures,
      bounds: [
        {
          name: 'F1 over that of trafilatura',
          value: figures.ours.f1 / figures.trafilatura.f1,
          min: 1,
        },
      ],
    };
  },
});

async function pagesOf(archive: string): Promise<Map<string, string>> {
  const file = cursor(bytesOf(await readFile(archive)));
  const pages = new Map<string, string>();
  for (;;) {
    const head = await file.take(512);
    const name = head.toString('utf8', 0, 100).replace(/\0.*$/s, '');
    if (name === '') return pages;
    const size = Number.parseInt(head.toString('latin1', 124, 135), 8);
    const content = await file.take(size);
    await file.skip((512 - (size % 512)) % 512);
    const page = /([0-9a-f]+)\.html\.gz$/.exec(name)?.[1];
    if (page !== undefined) pages.set(page, gunzipSync(content).toString('utf8'));
  }
}

async function byTrafilatura(
  pages: ReadonlyMap<string, string>,
  home: string,
): Promise<{ found: Map<string, string>; seconds: number }> {
  say(`installing ${trafilatura.join(' and ')}`);
  await execa('python3', ['-m', 'venv', home]);
  const python = path.join(home, 'bin', 'python');
  await execa(python, ['-m', 'pip', 'install', '--quiet', ...trafilatura]);
  const input = [...pages].map(([page, text]) => `${JSON.stringify({ page, html: text })}\n`);
  const script = path.join(projectDir, 'bench', 'support', 'main_content.py');
  const { stdout } = await execa(python, [script], { input: input.join(''), maxBuffer: 2 ** 28 });
  const found = new Map<string, string>();
  let seconds = Number.NaN;
  for (const line of stdout.split('\n')) {
    const reply = replySchema.parse(JSON.parse(line));
    if ('seconds' in reply) ({ seconds } = reply);
    else found.set(reply.page, reply.text);
  }
  return { found, seconds };
}

/** Means over the pages, and F1 of the means. */
export function scores(
  labels: Readonly<Record<string, { articleBody: string }>>,
  found: ReadonlyMap<string, string>,
): { f1: number; precision: number; recall: number } {
  const pages = Object.entries(labels).map(([page, { articleBody }]) => {
    const [wanted, got] = [shingles(articleBody), shingles(found.get(page) ?? '')];
    const both = [...wanted].reduce(
      (sum, [key, times]) => sum + Math.min(times, got.get(key) ?? 0),
      0,
    );
    const total = (counts: Map<string, number>) => [...counts.values()].reduce((a, b) => a + b, 0);
    const share = (all: number) => (all === 0 ? Number(total(wanted) === total(got)) : both / all);
    return { precision: share(total(got)), recall: share(total(wanted)) };
  });
  const mean = (name: 'precision' | 'recall') =>
    pages.reduce((sum, page) => sum + page[name], 0) / pages.length;
  const [precision, recall] = [mean('precision'), mean('recall')];
  return { f1: (2 * precision * recall) / (precision + recall), precision, recall };
}

function shingles(text: string): Map<string, number> {
  const words = text.match(/[\p{L}\p{N}_]+/gu) ?? [];
  const counts = new Map<string, number>();
  for (let start = 0; start < Math.max(1, words.length - 3); start += 1) {
    const shingle = words.slice(start, start + 4).join(' ');
    if (shingle !== '') counts.set(shingle, (counts.get(shingle) ?? 0) + 1);
  }
  return counts;
}
