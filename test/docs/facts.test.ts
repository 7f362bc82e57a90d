/** What the guides list is what the code has: fields, events, failures, reasons, summaries. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { ExitCode } from '../../client/cli/output.ts';
import * as published from '../../config/cleaning-thresholds.ts';
import { filterSteps, formSteps, stepsOf, textSteps, usualSteps } from '../../config/cleaning.ts';
import {
  controlSchema,
  trainerEventSchema,
  trainerResultSchema,
  trainerRunSchema,
} from '../../config/trainer.ts';
import { freePorts } from '../support/s3.ts';
import { workflowId } from '../../workflows/messages.ts';
import {
  datasetAttribute,
  modelAttribute,
  runAttribute,
  stageAttribute,
} from '../../workflows/search-attributes.ts';
import { project, readPage } from './pages.ts';

const read = (name: string) => readFileSync(path.join(project, name), 'utf8');

/** The code in the first column of every table of a part of a page. */
function firstColumn(text: string): string[] {
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  return rows.flatMap((row) =>
    Array.from(row.split('|')[1]!.matchAll(/`([^`]+)`/g), ([, code]) => code!),
  );
}

/** The text between two marks of a page. */
function between(text: string, from: string, to: string): string {
  const start = text.indexOf(from);
  const end = text.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`found no part from "${from}" to "${to}"`);
  return text.slice(start, end);
}

test('the guide to a trainer names every field, event and type of the contract, and no other', () => {
  const guide = read('docs/guides/writing-your-own-trainer.md');
  const without = (fields: object) => Object.keys(fields).filter((key) => key !== 'schemaVersion');
  const run = firstColumn(between(guide, '`run.json` is', '`control.json` is'));
  expect(run.toSorted()).toEqual(without(trainerRunSchema.shape).toSorted());
  const control = firstColumn(between(guide, '`control.json` is', '## Out'));
  expect(control.toSorted()).toEqual(without(controlSchema.shape).toSorted());
  const events = firstColumn(between(guide, '| Event |', '**`checkpoints/'));
  const known = trainerEventSchema.options.map(({ shape }) => shape.event.value);
  expect(events.toSorted()).toEqual(known.toSorted());
  const types = firstColumn(between(guide, '| `type` |', '## The example'));
  const failed = trainerResultSchema.options[1].shape.type.options;
  expect(types.filter((type) => type !== 'type').toSorted()).toEqual([...failed].toSorted());
});

test('the guide to cleaning has every threshold that a file may change, and the published one', () => {
  const guide = between(read('docs/guides/cleaning.md'), '## Other thresholds', '## Evaluation');
  const rows = (of: string): string =>
    guide
      .split('\n')
      .filter((line) => line.startsWith(`| \`${of}\``))
      .join('\n');
  const all = {
    'data.quality': published.gopherQuality,
    'gopher-repetition': published.gopherRepetition,
    c4: published.c4,
    'c4-lines': published.c4Lines,
    fineweb: published.fineWeb,
    'stop-words': published.stopWords,
  };
  for (const [of, thresholds] of Object.entries(all)) {
    const said = Array.from(rows(of).matchAll(/`(\w+)` (\{[^}]*\}|[\w.]+)/g), ([, key, value]) => [
      key,
      JSON.parse(value!),
    ]);
    expect(Object.fromEntries(said), of).toEqual(thresholds);
  }
});

test('the guide to documents names every reason for which one is dropped, and no other', () => {
  const guide = read('docs/guides/your-own-documents.md');
  const part = between(guide, '## What is dropped', '## Personal data');
  const source = ['corpus', 'corpus/formats']
    .flatMap((room) => readdirSync(path.join(project, room)).map((file) => `${room}/${file}`))
    .filter((file) => file.endsWith('.ts'))
    .map(read)
    .join('\n');
  const reasons = Array.from(
    source.matchAll(/(?<=reason: |refusal\(\s*|Refused\(\s*|'duplicate_exact' \| )'([a-z_]+)'/g),
    ([, reason]) => reason!,
  );
  const wanted = new Set(reasons);
  const named = part.match(/`[a-z]+(_[a-z]+)*`/g)!.map((code) => code.slice(1, -1));
  expect(named.toSorted()).toEqual([...wanted].toSorted());
});

test(
  'the filters of the guide to the Web UI find what they say, in a real Temporal',
  { timeout: 60_000 },
  async () => {
    const page = readPage('docs/guides/temporal-web-ui.md');
    const queries = page.blocks.find(({ language }) => language === 'sql')!.lines;
    const keys = [runAttribute, modelAttribute, datasetAttribute, stageAttribute];
    const [port] = await freePorts(1);
    const env = await TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(project, '.venv/bin/temporal') },
        port: port!,
        ui: false,
        searchAttributes: keys,
      },
    });
    try {
      const { workflow } = env.client;
      const run = 'policy-7f3a';
      // Nobody polls the queue: both stay as they are.
      const attributes = [run, 'policy', 'policy', 'pretrain'];
      await workflow.start('pipelineWorkflow', {
        workflowId: workflowId.pipeline(run),
        taskQueue: 'nobody',
        typedSearchAttributes: keys.map((key, index) => ({ key, value: attributes[index]! })),
      });
      await workflow.start('trainingWorkflow', {
        workflowId: workflowId.training(run, 'pretrain', 0),
        taskQueue: 'nobody',
      });
      const list = async (query: string) => {
        const found: string[] = [];
        for await (const info of workflow.list({ query })) found.push(info.workflowId);
        return found;
      };
      await expect.poll(() => list('')).toHaveLength(2);
      const found = await Promise.all(queries.map(list));
      expect(found).toEqual(
        queries.map((query) => {
          if (query.includes("'Failed'")) return [];
          const isTraining = query.includes('training');
          return [isTraining ? 'training/policy-7f3a/pretrain/0' : 'pipeline/policy-7f3a'];
        }),
      );
    } finally {
      await env.teardown();
    }
  },
);

test('the guide to the Web UI names every workflow and every search attribute', () => {
  const guide = read('docs/guides/temporal-web-ui.md');
  for (const type of read('workflows/index.ts').match(/\w+Workflow(?= )/g)!)
    expect(guide).toContain(`\`${type}\``);
  for (const { name } of [runAttribute, modelAttribute, datasetAttribute, stageAttribute])
    expect(guide).toContain(`\`${name}\``);
});

test('the guide to cleaning has every step, and says which the preset for the web takes', () => {
  const guide = read('docs/guides/cleaning.md');
  const rows = Array.from(guide.matchAll(/^\| `([a-z0-9-]+)` \| (yes|no|usual|always) \|/gm));
  expect(rows.map(([, step]) => step)).toEqual([
    ...usualSteps,
    ...formSteps,
    ...textSteps,
    ...filterSteps,
  ]);
  const always = rows.filter(([, , taken]) => taken === 'always');
  expect(always.map(([, step]) => step)).toEqual([...formSteps]);
  const web = stepsOf({ preset: 'web' }).map(({ step }) => step);
  expect(rows.filter(([, , taken]) => taken === 'yes').map(([, step]) => step)).toEqual(web);
});

test('the guide to documents names every reason for which a conversation is left out', () => {
  const guide = read('docs/guides/your-own-documents.md');
  const part = between(guide, 'What cannot be learnt from', '## Naming the phases');
  const source = [
    'corpus/chats.ts',
    'corpus/conversations.ts',
    'activities/preprocess-conversations.ts',
  ]
    .map((file) => read(file))
    .join('\n');
  const reasons = Array.from(
    source.matchAll(/(?:ShapeError\(|leftOut\(|drop\(|else drop\()\s*'([a-z_]+)'|(invalid_json):/g),
    ([, one, other]) => one ?? other!,
  );
  const named = part.match(/`[a-z]+(_[a-z]+)*`/g)!.map((code) => code.slice(1, -1));
  expect(named.toSorted()).toEqual([...new Set(reasons)].toSorted());
});

test('the guide to the command line has every exit code, and the help of the program names the same', () => {
  const codes = firstColumn(read('docs/guides/command-line.md')).map(Number);
  expect(codes).toEqual(Object.values(ExitCode));
  const help = /Exit codes: (.*)\./.exec(read('client/cli/program.ts'))?.[1] ?? '';
  expect([...help.matchAll(/(?:^|, )(\d+) /g)].map(([, code]) => Number(code))).toEqual(codes);
});
