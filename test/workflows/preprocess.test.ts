import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type {
  EncodeShardsInput,
  FinishCorpusInput,
  PreprocessInput,
  PreprocessResult,
  Shuffle,
} from '../../activities/preprocess-input.ts';
import type { PreprocessActivities } from '../../activities/preprocess.ts';
import { FailureType } from '../../config/failures.ts';
import { TaskQueue } from '../../config/queues.ts';
import { preprocessWorkflow } from '../../workflows/preprocess.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
}, 60_000);
afterAll(async () => {
  await env.teardown();
});

const digest = (letter: string): string => letter.repeat(64);
const input: PreprocessInput = {
  run: 'r',
  dataset: { name: 'd', version: 1, digest: digest('d') },
  data: { personalData: 'redact', quality: true, heldOut: 0.02, maxDropped: 0.5 },
  questions: [],
  seed: 1,
  unread: {},
};
const result: PreprocessResult = {
  corpus: digest('c'),
  reused: false,
  summary: {
    numDocuments: 3,
    kept: 3,
    dropped: {},
    redacted: {},
    numTokens: 9,
    bytes: 30,
    vocabSize: 512,
    numShards: 1,
    numHeldOut: 1,
    heldOutBytes: 10,
    numTrainQuestions: 0,
    numPreferences: 0,
    numQuestions: 0,
    numAmbiguous: 0,
  },
};

/** Activities that only write down what they were asked. */
function fakes(
  numShards: number,
  found: PreprocessResult | null = null,
  shuffle: Shuffle | null = null,
) {
  const calls: string[] = [];
  const covered = {
    clean: [] as number[],
    encode: [] as number[],
    scatter: [] as number[],
    resolve: [] as number[],
  };
  const cover = (kind: keyof typeof covered, { from, to }: { from: number; to: number }): void => {
    calls.push(kind);
    for (let shard = from; shard < to; shard += 1) covered[kind].push(shard);
  };
  const activities: PreprocessActivities = {
    readEvaluationSets: async () => ({
      grams: { sha256: digest('9'), bytes: 1 },
      numTexts: 1,
      numRecords: 1,
      numTooShort: 0,
    }),
    takeTokenizer: async ({ from }) => {
      calls.push(`take ${from}`);
      return { file: { sha256: digest('8'), bytes: 5 }, vocabSize: 600 };
    },
    mixCorpus: async () => {
      calls.push('mix');
      return { mix: digest('b'), numTokens: 9 };
    },
    findPreparedCorpus: async () => null,
    readConversations: async () => {
      throw new Error('no conversations were asked for');
    },
    findCorpus: async () => ({
      corpus: digest('c'),
      numShards,
      found,
      ...(shuffle !== null && { shuffle }),
    }),
    scatterFingerprints: async (range) => cover('scatter', range),
    resolveBuckets: async (range) => cover('resolve', range),
    cleanShards: async (range) => {
      cover('clean', range);
      return { kept: 1, dropped: 0 };
    },
    resolveDuplicates: async () => {
      calls.push('duplicates');
      return { duplicates: digest('e'), kept: 3, dropped: 0 };
    },
    splitCorpus: async () => {
      calls.push('split');
      return { split: digest('f'), numShards: Math.ceil(numShards / 3), bytes: 1 };
    },
    trainTokenizer: async () => {
      calls.push('tokenizer');
      return { tokenizer: digest('a'), vocabSize: 512 };
    },
    keepTokenizer: async () => {
      calls.push('kept tokenizer');
      return { tokenizer: digest('a'), vocabSize: 512 };
    },
    encodeShards: async (range) => {
      cover('encode', range);
      return { numTokens: 1 };
    },
    measureCorpus: async () => {
      calls.push('measure');
      return { measured: digest('7') };
    },
    finishCorpus: async () => {
      calls.push('finish');
      return result;
    },
  };
  return { activities, calls, covered };
}

let runs = 0;
async function run(
  activities: PreprocessActivities,
  given: PreprocessInput = input,
): Promise<PreprocessResult> {
  const worker = await Worker.create({
    connection: env.nativeConnection,
    taskQueue: TaskQueue.data,
    workflowBundle,
    activities,
  });
  return await worker.runUntil(
    env.client.workflow.execute(preprocessWorkflow, {
      workflowId: `preprocess/${(runs += 1)}`,
      taskQueue: TaskQueue.data,
      args: [given],
    }),
  );
}

test('a corpus that was made before is returned, and nothing else runs', async () => {
  const { activities, calls } = fakes(5, { ...result, reused: true });
  expect(await run(activities)).toEqual({ ...result, reused: true });
  expect(calls).toEqual([]);
});

test('every shard is cleaned once before duplicates are sought, and encoded once after the tokenizer', async () => {
  const { activities, calls, covered } = fakes(7);
  expect(await run(activities)).toEqual(result);
  expect(covered.clean.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(covered.encode.toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  expect(calls).toEqual([
    ...Array.from({ length: 7 }, () => 'clean'),
    'duplicates',
    'split',
    'tokenizer',
    ...Array.from({ length: 3 }, () => 'encode'),
    'finish',
  ]);
});

test('a corpus is measured while shards are encoded, once those are that it is measured by', async () => {
  const { activities, calls, covered } = fakes(90);
  const asked: unknown[] = [];
  const measuring = {
    ...activities,
    splitCorpus: async () => ({ split: digest('f'), numShards: 30, bytes: 1, numLearnt: 16 }),
    encodeShards: async (range: EncodeShardsInput) => {
      expect(range.learntFirst).toBe(true);
      return activities.encodeShards(range);
    },
    finishCorpus: async ({ measured }: FinishCorpusInput) => {
      asked.push(measured);
      return result;
    },
  };
  await run(measuring);
  expect(covered.encode.slice(0, 16).toSorted((a, b) => a - b)).toEqual([...Array(16).keys()]);
  expect(covered.encode.toSorted((a, b) => a - b)).toEqual([...Array(30).keys()]);
  const encoded = calls.slice(0, calls.indexOf('measure')).filter((call) => call === 'encode');
  expect(encoded.length).toBeGreaterThanOrEqual(16);
  expect(asked).toEqual([digest('7')]);

  // What is mixed is measured when it is mixed.
  await run(
    {
      ...measuring,
      encodeShards: async () => ({ numTokens: 1 }),
      measureCorpus: async () => {
        throw new Error('mixed');
      },
    },
    { ...input, mixed: [] },
  );
  expect(asked).toEqual([digest('7'), undefined]);
});

test('evaluation sets and conversations are read once, and what they gave goes to the steps that need it', async () => {
  const { activities, calls } = fakes(1);
  const asked: unknown[] = [];
  const grams = { sha256: digest('9'), bytes: 1 };
  const read = {
    train: grams,
    preferences: grams,
    preferencesHeldOut: grams,
    numTrain: 1,
    numPreferences: 0,
    numPreferencesHeldOut: 0,
    numRecords: 1,
    dropped: {},
    redacted: {},
    licenses: ['MIT'],
  };
  const sources = [{ path: 'chats.jsonl', license: 'MIT', maxTokens: 128 }];
  const deduplicate = { near: false } as const;
  await run(
    {
      ...activities,
      readEvaluationSets: async ({ paths }) => {
        calls.push(`sets ${paths.join()}`);
        return { grams, numTexts: 1, numRecords: 1, numTooShort: 0 };
      },
      readConversations: async (given) => {
        calls.push(`conversations ${given.sources[0]?.path} ${given.heldOut}`);
        asked.push(given.grams);
        return read;
      },
      findCorpus: async ({ data, conversations }) => {
        asked.push([data.grams, data.decontaminate, data.conversations, conversations]);
        return { corpus: digest('c'), numShards: 1, found: null };
      },
      cleanShards: async ({ data }) => {
        asked.push(data.grams);
        return { kept: 1, dropped: 0 };
      },
      splitCorpus: async ({ conversations }) => {
        asked.push(conversations);
        return { split: digest('f'), numShards: 1, bytes: 1 };
      },
      finishCorpus: async ({ preparation }) => {
        asked.push(preparation);
        return result;
      },
    },
    {
      ...input,
      baseDir: '/somewhere',
      data: { ...input.data, deduplicate, decontaminate: ['gsm8k.jsonl'], conversations: sources },
    },
  );
  expect(calls.slice(0, 2)).toEqual(['sets gsm8k.jsonl', 'conversations chats.jsonl 0.02']);
  const { quality, personalData, heldOut } = input.data;
  const preparation = {
    quality,
    personalData,
    heldOut,
    deduplicate,
    decontaminate: ['gsm8k.jsonl'],
  };
  expect(asked).toEqual([grams, [grams, undefined, undefined, read], grams, read, preparation]);
});

test('the tokenizer of a model that is gone on from is kept, and none is trained', async () => {
  const { activities, calls } = fakes(1);
  const tokenizer = { file: { sha256: digest('9'), bytes: 5 }, vocabSize: 512 };
  await run(activities, { ...input, tokenizer });
  expect(calls).toEqual(['clean', 'duplicates', 'split', 'kept tokenizer', 'encode', 'finish']);
});

test('a tokenizer that the pipeline names is read first, and kept as that of the corpus', async () => {
  const { activities, calls } = fakes(1);
  const asked: unknown[] = [];
  await run(
    {
      ...activities,
      findCorpus: async ({ tokenizer }) => {
        asked.push(tokenizer);
        return { corpus: digest('c'), numShards: 1, found: null };
      },
      keepTokenizer: async (kept) => {
        asked.push(kept);
        return { tokenizer: digest('a'), vocabSize: 600 };
      },
    },
    { ...input, baseDir: '/somewhere', tokenizerWish: { from: './tokenizer.json' } },
  );
  expect(calls).toEqual([
    'take ./tokenizer.json',
    'clean',
    'duplicates',
    'split',
    'encode',
    'finish',
  ]);
  const kept = { file: { sha256: digest('8'), bytes: 5 }, vocabSize: 600 };
  expect(asked).toEqual([kept, kept]);
});

test('sources are mixed after they are encoded, where one has a weight', async () => {
  const { activities, calls } = fakes(1);
  const source = { path: 'docs', include: '**/*', license: 'MIT', textField: 'text', weight: 2 };
  const finished: unknown[] = [];
  await run(
    {
      ...activities,
      finishCorpus: async ({ mix }) => {
        finished.push(mix);
        return result;
      },
    },
    { ...input, mixed: [source] },
  );
  expect(calls).toEqual(['clean', 'duplicates', 'split', 'tokenizer', 'encode', 'mix']);
  expect(finished).toEqual([digest('b')]);
});

test('a corpus of many shards stays within one history: an activity does several', async () => {
  const { activities, calls, covered } = fakes(900);
  await run(activities);
  expect(calls.filter((call) => call === 'clean')).toHaveLength(300);
  expect(covered.clean.toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 900 }, (_, at) => at),
  );
  const { historyLength } = await env.client.workflow.getHandle(`preprocess/${runs}`).describe();
  expect(historyLength).toBeLessThan(5000);
}, 60_000);

test('where the workers say that an activity may do several shards, there are fewer activities and each shard is done once', async () => {
  for (const [numShards, numActivities] of [
    [24, 24],
    [91, 23],
    [900, 225],
  ] as const) {
    const { activities, calls, covered } = fakes(numShards);
    const { findCorpus } = activities;
    await run({
      ...activities,
      findCorpus: async (given) => ({ ...(await findCorpus(given)), shardsPerActivity: 4 }),
    });
    expect(calls.filter((call) => call === 'clean')).toHaveLength(numActivities);
    for (const [kind, count] of [
      ['clean', numShards],
      ['encode', Math.ceil(numShards / 3)],
    ] as const)
      expect(covered[kind].toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: count }, (_, at) => at),
      );
  }
}, 60_000);

test('a corpus of 10,000 shards is shuffled between cleaning and the search, within one history', async () => {
  const { activities, calls, covered } = fakes(10_000, null, { groupSize: 256, numBuckets: 40 });
  await run(activities);
  for (const [kind, count] of [
    ['clean', 10_000],
    ['scatter', 40],
    ['resolve', 40],
    ['encode', 3334],
  ] as const)
    expect(covered[kind].toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: count }, (_, at) => at),
    );
  expect(calls.indexOf('scatter')).toBeGreaterThan(calls.lastIndexOf('clean'));
  expect(calls.indexOf('resolve')).toBeGreaterThan(calls.lastIndexOf('scatter'));
  expect(calls.indexOf('duplicates')).toBeGreaterThan(calls.lastIndexOf('resolve'));
  const { historyLength } = await env.client.workflow.getHandle(`preprocess/${runs}`).describe();
  expect(historyLength).toBeLessThan(5000);
}, 60_000);

test('a step that fails once is tried again', async () => {
  const { activities, covered } = fakes(3);
  let failed = false;
  const { cleanShards } = activities;
  activities.cleanShards = async (range) => {
    if (range.from === 1 && !failed) {
      failed = true;
      throw new Error('the store was away');
    }
    return cleanShards(range);
  };
  expect(await run(activities)).toEqual(result);
  expect(failed).toBe(true);
  expect(covered.clean.toSorted()).toEqual([0, 1, 2]);
});

test('a corpus that was named by the code of before is prepared again under the name of the code that made it', async () => {
  const { activities, calls } = fakes(2);
  const codes = [digest('1'), digest('2')];
  const finished: unknown[] = [];
  const updated = {
    ...activities,
    findCorpus: async (asked: PreprocessInput) => ({
      ...(await activities.findCorpus(asked)),
      code: codes[finished.length]!,
    }),
    finishCorpus: async ({ code }: FinishCorpusInput) => {
      finished.push(code);
      if (code === codes[0])
        throw ApplicationFailure.nonRetryable('other code', FailureType.CodeChanged);
      return result;
    },
  };
  expect(await run(updated)).toEqual(result);
  expect(finished).toEqual(codes);
  expect(calls.filter((call) => call === 'split')).toHaveLength(2);
});

test('an unusable corpus fails the run at once', async () => {
  const { activities, calls } = fakes(2);
  activities.resolveDuplicates = async () => {
    throw ApplicationFailure.nonRetryable('too few', FailureType.InvalidCorpus);
  };
  const failure: unknown = await run(activities).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  expect((failure as WorkflowFailedError).cause?.cause).toMatchObject({
    type: 'InvalidCorpus',
    message: 'too few',
  });
  expect(calls).toEqual(['clean', 'clean']);
});
