/**
 * A base model adapted to a folder of documents by the commands that a person types: what it gained and what it forgot,
 * or, made an assistant, what it answers.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import {
  importedModelSchema,
  modelManifestSchema,
  type ModelVersion,
} from '../config/manifests.ts';
import { projectDir, python } from '../infra/layout.ts';
import { downloadBlob } from '../registry/blobs.ts';
import { getModel } from '../registry/models.ts';
import { findStage } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { findTrained } from '../registry/trained.ts';
import { commandLine } from './first-hour.ts';
import { defineBench, say } from './support/bench.ts';
import { corpora, writeLaw } from './support/corpora.ts';
import { measureAssistant } from './support/law-assistant.ts';
import { withHome, withStack } from './support/stack.ts';

const needed = {
  documents: corpora['law-en'].source,
  text: 'pretrain/wikitext2.valid.txt',
  'ARC-Easy': 'eval/choice/arc_easy.jsonl',
  PIQA: 'eval/choice/piqa.jsonl',
} as const;
/** Tokens of the general text that are scored. */
const textTokens = 65_536;

const runSchema = z.object({ state: z.literal('finished') });
const change = z.object({ before: z.number(), after: z.number() });
const choice = change.extend({ stderrOfChange: z.number(), count: z.number() });
const forgottenSchema = z.object({ text: change, 'ARC-Easy': choice, PIQA: choice });

export const adapt = defineBench({
  name: 'adapt',
  summary:
    'SmolLM2 adapted to 300 KB of English law: gained on held-out text, forgotten elsewhere; or its answers',
  settings: z.strictObject({
    part: z
      .enum(['reading', 'assistant'])
      .default('reading')
      .describe('reading: what it gained and forgot; assistant: what it answers and prefers'),
    data: z.string().describe(`folder of public data with ${Object.values(needed).join(', ')}`),
    questions: z.int().min(50).default(1000).describe('reading: of each set of questions'),
    threads: z.int().min(1).default(2).describe('reading: of the measurement afterwards'),
    keep: z.boolean().default(false).describe('leave the home folder with its model'),
  }),
  async measure({ part, data, questions, threads, keep }) {
    const at = (name: keyof typeof needed) => path.resolve(data, needed[name]);
    return await withHome('adapt', { keep }, async (home) => {
      if (part === 'assistant') return await measureAssistant(at('documents'), home);
      const place = path.join(home, 'newcomer');
      const bytes = writeLaw(at('documents'), path.join(place, 'docs'));
      const temper = commandLine(place, home);
      const began = performance.now();
      const init = await temper('init', './docs', '--name', 'law', '--from', 'smollm2');
      const run = await temper('run');
      runSchema.parse(run.value);
      const totalS = (performance.now() - began) / 1000;
      say(`init ${init.seconds.toFixed(1)} s, run ${run.seconds.toFixed(1)} s`);

      const folders = path.join(home, 'models');
      const { adapted, version } = await withStack(home, ({ store }) => fetchBoth(store, folders));
      const served = Object.values(version.evaluations)[0]?.metrics['valBpb']?.value ?? null;
      const gain = 1 - adapted.valBpb / adapted.valBpbBefore;
      say(`held-out ${adapted.valBpbBefore.toFixed(3)} → ${adapted.valBpb.toFixed(3)} bits a byte`);
      const config = path.join(home, 'forgetting.json');
      writeFileSync(
        config,
        JSON.stringify({
          base: path.join(folders, 'base'),
          adapted: path.join(folders, 'adapted'),
          tokenizer: path.join(folders, 'base', 'tokenizer.json'),
          text: at('text'),
          tokens: textTokens,
          questions,
          threads,
          choices: [
            ['ARC-Easy', at('ARC-Easy')],
            ['PIQA', at('PIQA')],
          ],
        }),
      );
      const { stdout } = await execa(
        python,
        ['-m', 'bench.support.forgetting', '--config', config],
        { cwd: projectDir, stderr: 'inherit' },
      );
      const forgotten = forgottenSchema.parse(JSON.parse(stdout));
      const rise = forgotten.text.after / forgotten.text.before - 1;
      const falls = (['ARC-Easy', 'PIQA'] as const).map((name) => {
        const { before, after, stderrOfChange, count } = forgotten[name];
        say(
          `${name} ${before.toFixed(1)} → ${after.toFixed(1)} ± ${stderrOfChange.toFixed(1)} points, ${count} questions`,
        );
        return { name: `${name}, points lost`, value: before - after, max: 1.5 };
      });
      return {
        figures: { bytes, totalS, adapted, served, forgotten },
        bounds: [
          { name: 'from init to a served model, seconds', value: totalS, max: 720 },
          { name: 'held-out bits a byte, share gained', value: gain, min: 0.08 },
          { name: 'general bits a byte, share lost', value: rise, max: 0.02 },
          ...falls,
        ],
      };
    });
  },
});

/** Lays the base and the adapted model side by side, in transformers' layout. */
async function fetchBoth(store: Store, folder: string) {
  const version = await getModel(store, 'law', 1);
  const phase = version?.lineage.phases[0];
  const trained = phase && (await findTrained(store, phase));
  if (!version || !trained?.manifest.adapted)
    throw new Error('found no adapted model law@1, expected what the run registered');
  await lay(store, trained.manifest.files, path.join(folder, 'adapted'));
  await lay(store, (await baseOf(store, version)).files, path.join(folder, 'base'));
  return { adapted: modelManifestSchema.parse(trained.manifest).adapted!, version };
}

async function baseOf(store: Store, { lineage }: ModelVersion) {
  for await (const { key } of store.list('stages/import/')) {
    const digest = path.basename(key, '.json');
    const found = await findStage(store, 'import', digest, importedModelSchema);
    if (found?.files['model.safetensors']?.sha256 === lineage.base?.weights) return found!;
  }
  throw new Error(`found no import of ${lineage.base?.title}, expected its stage record`);
}

async function lay(
  store: Store,
  files: Record<string, { sha256: string; bytes: number }>,
  folder: string,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const [name, ref] of Object.entries(files))
    await downloadBlob(store, ref, path.join(folder, name));
}
