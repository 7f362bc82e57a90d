/**
 * A folder of every format, encoding and damage, in four languages, made into a corpus by one, two and three data
 * workers, one of which is killed each time: the same dataset and corpus, and a reason for every file that gave no document.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { defineBench, say } from './support/bench.ts';
import { formatSources, writeEveryFormat, type EveryFormat } from './support/every-format.ts';
import { startGround, type Attempt, type Prepared } from './support/killed-workers.ts';
import { withHome } from './support/stack.ts';

/** Before which write a worker dies: a shard of the dataset, a cleaned one, a group, a bucket, an encoded shard. */
const deaths = [
  '3 blobs/',
  '2 stages/clean-shard/',
  '2 stages/scatter/',
  '2 stages/bucket/',
  '2 stages/encode-shard/',
];

/** Few of its documents are held out, and its many bad files are no fault. */
export const formatData: Attempt['data'] = {
  personalData: 'redact',
  quality: true,
  heldOut: 0.02,
  maxDropped: 0.8,
};

export const formats = defineBench({
  name: 'formats',
  summary: 'one file of every format to a corpus by 1, 2 and 3 data workers, one killed each time',
  settings: z.strictObject({
    records: z.int().min(1).default(600).describe('in each of three files of JSON lines'),
    keep: z.boolean().default(false).describe('leave the folder'),
  }),
  async measure({ records, keep }) {
    return await withHome('formats', { keep }, async (home) => {
      const folder = path.join(home, 'every-format');
      mkdirSync(folder, { recursive: true });
      const made = writeEveryFormat(folder, records);
      say(`${made.files.size} files, ${(made.bytes / 1e6).toFixed(1)} MB`);
      const attempts = deaths.map((diesBefore, index) => ({
        numWorkers: (index % 3) + 1,
        diesBefore,
      }));
      const ground = await startGround(attempts.length);
      const prepared: Prepared[] = [];
      try {
        for (const attempt of attempts) {
          const shared = { sources: formatSources, baseDir: folder, data: formatData };
          const one = await ground.prepare({ ...attempt, ...shared });
          say(
            `${attempt.numWorkers} workers, ${one.numKilled} killed before write ${attempt.diesBefore}: ` +
              `${one.seconds.toFixed(1)} s, dataset ${one.dataset.digest.slice(0, 12)}, corpus ${one.corpus.slice(0, 12)}`,
          );
          prepared.push(one);
        }
      } finally {
        await ground.stop();
      }
      const [first] = prepared;
      const { unexplained, reasons } = explained(made, first!);
      for (const [reason, count] of Object.entries(reasons)) say(`  ${count} × ${reason}`);
      const different = (of: (one: Prepared) => unknown): number =>
        new Set(prepared.map((one) => JSON.stringify(of(one)))).size;
      return {
        figures: {
          numFiles: made.files.size,
          bytes: made.bytes,
          numDocuments: first!.dataset.numDocuments,
          kept: first!.manifest.statistics.kept,
          dropped: reasons,
          unexplained,
          attempts: attempts.map((attempt, index) => ({
            ...attempt,
            numKilled: prepared[index]!.numKilled,
            seconds: prepared[index]!.seconds,
          })),
        },
        bounds: [
          {
            name: 'preparations in which a worker was killed',
            value: prepared.filter(({ numKilled }) => numKilled > 0).length,
            min: attempts.length,
          },
          { name: 'different datasets', value: different(({ dataset }) => dataset), max: 1 },
          { name: 'different corpora', value: different(({ manifest }) => manifest), max: 1 },
          { name: 'files without a document or a reason', value: unexplained.length, max: 0 },
        ],
      };
    });
  },
});

/** Files that gave neither a document nor the refusal that is wanted, and what was dropped by reason. */
export function explained(
  { files }: EveryFormat,
  { sources, dropped }: Pick<Prepared, 'sources' | 'dropped'>,
): { unexplained: string[]; reasons: Record<string, number> } {
  const isOf = (file: string) => (source: string) =>
    source === file || source.startsWith(`${file}#`) || source.startsWith(`${file}!`);
  const unexplained = [...files]
    .filter(([file, wanted]) => {
      const found = dropped.filter(({ source }) => isOf(file)(source));
      if (wanted !== null) return !found.some(({ reason }) => reason === wanted);
      return !sources.some(isOf(file)) && found.length === 0;
    })
    .map(([file]) => file);
  const reasons: Record<string, number> = {};
  for (const { reason } of dropped) reasons[reason] = (reasons[reason] ?? 0) + 1;
  return { unexplained, reasons };
}
