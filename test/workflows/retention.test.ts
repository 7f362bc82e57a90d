/**
 * Originals on their whole way, through real activities in a real Temporal: sealed in the store, named nowhere else, and
 * gone when their time is over.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { MockActivityEnvironment, type TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Worker, type WorkflowBundle } from '@temporalio/worker';
import { WorkflowFailedError } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createIngestActivities } from '../../activities/ingest.ts';
import type { PreprocessInput, PreprocessResult } from '../../activities/preprocess-input.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import { createRetentionActivities } from '../../activities/retention.ts';
import { FailureType } from '../../config/failures.ts';
import type { IngestResult } from '../../config/ingest.ts';
import {
  corpusManifestSchema,
  type Document,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { TaskQueue } from '../../config/queues.ts';
import { sourceSchema } from '../../config/sources.ts';
import { expiryLines } from '../../client/cli/datasets.ts';
import { describeDataset } from '../../client/datasets.ts';
import { putBlob, readJsonLines } from '../../registry/blobs.ts';
import { StoreUnreachable } from '../../registry/errors.ts';
import { findStage } from '../../registry/stages.ts';
import { rootMessage } from '../../workflows/root-message.ts';
import { preprocessWorkflow } from '../../workflows/preprocess.ts';
import { retentionWorkflow } from '../../workflows/retention.ts';
import { english, seeded } from '../corpus/random.ts';
import { byteTokenizer, byteVocabSize } from '../support/byte-tokenizer.ts';
import { memoryStore } from '../support/memory-store.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'temper-retention-'));
const store = memoryStore();
const started = new Date('2026-11-22T00:00:00.000Z');
const day = 86_400_000;
let now = started;
const deps: Deps = {
  store,
  home: path.join(folder, '.home'),
  python: 'none',
  projectDir: path.resolve(import.meta.dirname, '../..'),
  host: 'test',
  now: () => now,
};
const threads = new ThreadPool(1);
let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
/** Everything that the workers of the test logged. */
const logged: string[] = [];

// Words that occur nowhere but in one document each.
const random = seeded(4);
const secrets = ['quokkaword', 'numbatword', 'bilbyword'];
const texts = secrets.map((secret) => `${secret} ${english(random, 120)}`);
const short = 'zebraword';

beforeAll(async () => {
  env = await startTimeSkipping((said) => logged.push(said));
  workflowBundle = await bundleWorkflows();
  mkdirSync(path.join(folder, 'staff'), { recursive: true });
  for (const [index, text] of [...texts, texts[0]!, short].entries()) {
    writeFileSync(path.join(folder, 'staff', `dismissal-of-${index}.txt`), text);
  }
}, 60_000);
afterAll(async () => {
  await threads.close();
  await env.teardown();
  rmSync(folder, { recursive: true, force: true });
});

const input = (encrypt: boolean) => ({
  run: 'staff-1',
  name: 'staff',
  sources: [sourceSchema.parse({ path: 'staff', license: 'internal' })],
  originals: { keep: 30 * day, encrypt },
  baseDir: folder,
});

/** Ingests and preprocesses through a worker, as a run does. */
async function through<T>(work: () => Promise<T>): Promise<T> {
  const common = { connection: env.nativeConnection };
  const data = await Worker.create({
    ...common,
    taskQueue: TaskQueue.data,
    activities: { ...createIngestActivities(deps), ...createPreprocessActivities(deps, threads) },
  });
  const client = { workflow: { list: async function* list() {} } };
  const control = await Worker.create({
    ...common,
    taskQueue: TaskQueue.control,
    workflowBundle,
    activities: createRetentionActivities({ ...deps, client: client as never }),
  });
  return data.runUntil(control.runUntil(work()));
}

/** An activity as a worker runs it, whose log is kept. */
function activityOf(): MockActivityEnvironment {
  const logger = new DefaultLogger('DEBUG', ({ level, message, meta }) => {
    logged.push(`${level} ${message} ${inspect(meta, { depth: 9 })}`);
  });
  return new MockActivityEnvironment(undefined, { logger });
}

async function ingest(encrypt: boolean): Promise<IngestResult> {
  const activity = activityOf();
  activity.on('heartbeat', (details) => logged.push(JSON.stringify(details)));
  const { ingestCorpus } = createIngestActivities(deps);
  const result = (await activity.run(ingestCorpus, input(encrypt))) as IngestResult;
  logged.push(JSON.stringify(result));
  return result;
}

async function preprocessInput({ dataset }: IngestResult, seed: number): Promise<PreprocessInput> {
  return {
    run: 'staff-1',
    dataset,
    data: { personalData: 'redact', quality: true, heldOut: 0.4, maxDropped: 0.9 },
    questions: [],
    seed,
    unread: {},
    tokenizer: { file: await putBlob(store, byteTokenizer()), vocabSize: byteVocabSize },
  };
}

async function preprocess(ingested: IngestResult, id: string, seed = 1): Promise<PreprocessResult> {
  const args: [PreprocessInput] = [await preprocessInput(ingested, seed)];
  return env.client.workflow.execute(preprocessWorkflow, {
    workflowId: id,
    taskQueue: TaskQueue.control,
    args,
  });
}

/** A history with its payloads as they are read. */
async function historyOf(id: string): Promise<string> {
  const history = await env.client.workflow.getHandle(id).fetchHistory();
  return historyToJSON(history).replaceAll(/"data": ?"([^"]*)"/g, (_, data: string) =>
    Buffer.from(data, 'base64').toString('utf8'),
  );
}

/** Blobs in which a word stands, packed or not. */
function blobsWith(word: string): string[] {
  return [...store.objects].flatMap(([key, bytes]) => {
    let plain = bytes;
    try {
      plain = zstdDecompressSync(bytes);
    } catch {
      // Not packed.
    }
    return plain.includes(word) ? [key] : [];
  });
}

test(
  'sealed originals are read by their keys alone, named in no log or history, and expire',
  { timeout: 60_000 },
  async () => {
    await through(async () => {
      const ingested = await ingest(true);
      const result = await preprocess(ingested, 'preprocess/staff-1');
      expect(result.summary).toMatchObject({
        kept: 3,
        dropped: { duplicate_exact: 1, too_short: 1 },
      });
      const { dataset, expiry, encrypted, dropped } = await describeDataset(store, 'staff');
      expect({ expiry, encrypted, dropped }).toEqual({
        expiry: { expiresAt: '2026-12-22T00:00:00.000Z', expired: false },
        encrypted: 'new',
        dropped: [],
      });

      // What training reads stays as it is; nothing else shows a word of a document.
      expect(blobsWith(short)).toEqual([]);
      for (const secret of secrets) expect(blobsWith(secret)).toHaveLength(1);

      const documents = (
        await Promise.all(dataset.shards.map(async (s) => readJsonLines(store, s.documents)))
      ).flat() as Document[];
      expect(documents).toHaveLength(5);
      const manifest = await findStage(store, 'preprocess', result.corpus, corpusManifestSchema);
      const left = (await readJsonLines(store, manifest!.droppedDocuments)) as DroppedDocument[];
      expect(left.map(({ reason }) => reason).toSorted()).toEqual(['duplicate_exact', 'too_short']);
      expect(left.some(({ sample }) => sample?.includes(short) === true)).toBe(true);

      // Nothing is due yet; then everything is.
      const sweep = async (id: string) =>
        env.client.workflow.execute(retentionWorkflow, {
          workflowId: id,
          taskQueue: TaskQueue.control,
          args: [{}],
        });
      expect((await sweep('retention-1')).expired).toEqual([]);
      now = new Date(started.getTime() + 31 * day);
      const report = await sweep('retention-2');
      expect(report).toMatchObject({ expired: [{ name: 'staff', version: 1 }], numShared: 0 });
      expect(expiryLines(report, false)[0]).toMatch(/^staff@1 expired: \d+ objects, /);
      for (const { documents: ref } of dataset.shards) {
        await expect(readJsonLines(store, ref)).rejects.toThrow(/is missing/);
      }
      for (const secret of secrets) expect(blobsWith(secret)).toHaveLength(1);
      expect((await describeDataset(store, 'staff')).expiry?.expired).toBe(true);

      // The corpus that was made of it is still one; another one cannot be made.
      expect((await preprocess(ingested, 'preprocess/staff-2')).reused).toBe(true);
      const refused = await preprocess(ingested, 'preprocess/staff-3', 2).catch(
        (error: unknown) => error,
      );
      expect(refused).toBeInstanceOf(WorkflowFailedError);
      expect(rootMessage(refused)).toMatch(/staff@1: its documents expired.*npx temper run/);
      expect(JSON.stringify(refused)).toContain(FailureType.DatasetExpired);

      // Read again it is another version of the same documents, of which everything can be made anew.
      const again = await ingest(true);
      expect(again.dataset).toEqual({ ...ingested.dataset, version: 2 });
      const anew = await preprocess(again, 'preprocess/staff-4', 2);
      expect(anew).toMatchObject({ reused: false, summary: { kept: 3 } });

      // Of every execution, the refused one among them, and of all that was logged meanwhile.
      const histories = await Promise.all(
        ['preprocess/staff-1', 'preprocess/staff-3', 'retention-2'].map(historyOf),
      );
      expect(histories[0]).toContain(ingested.dataset.digest);
      const said = [...histories, ...logged].join('\n');
      const named = left.map((one) => ({ ...one, text: one.detail }));
      for (const { id, source, text } of [...documents, ...named]) {
        for (const name of [id, source, path.basename(source), text.slice(0, 40)]) {
          expect(said).not.toContain(name);
        }
      }
    });
  },
);

test('a document that cannot be fetched is named in the failure by a keyed name alone', async () => {
  const broken = {
    ...store,
    async *list() {
      yield { key: 'hr/jane-doe-dismissal.txt', bytes: 1, lastModified: new Date(0) };
    },
    download: async (key: string) => {
      throw new StoreUnreachable(`S3 did not answer a read of ${key}`);
    },
  };
  const activity = activityOf();
  const { ingestCorpus } = createIngestActivities({ ...deps, openBucket: () => broken });
  const failure: unknown = await activity
    .run(ingestCorpus, {
      ...input(true),
      sources: [sourceSchema.parse({ s3: 'sources/hr', license: 'internal' })],
    })
    .catch((error: unknown) => error);
  const { message, stack, name } = failure as Error;
  const keyed = store.dataKeys!.nameOf('s3://sources/hr/jane-doe-dismissal.txt');
  expect(message).toContain(`StoreUnreachable while document ${keyed} of s3://sources/hr was read`);
  expect(`${message} ${stack} ${name}`).not.toContain('jane');
  expect((failure as Error).cause).toBeUndefined();
  expect(logged.join('\n')).toContain(keyed);
  expect(logged.join('\n')).not.toContain('jane');
});

test('encryption without a data key is refused before anything is read', async () => {
  const bare = { ...deps, store: { ...store, dataKeys: undefined } };
  const failure: unknown = await activityOf()
    .run(createIngestActivities(bare).ingestCorpus, input(true))
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({
    type: FailureType.DataKeyMissing,
    nonRetryable: true,
    message: expect.stringMatching(/found no data key.*TEMPER_DATA_KEY_FILE/) as string,
  });
});
