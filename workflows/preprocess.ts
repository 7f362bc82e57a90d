/**
 * Preprocessing, as a child workflow so that its fan-out has a history of its own: clean every shard,
 * bring the shards together to find duplicates, through a shuffle where they are many, split, train the tokenizer, encode every shard.
 */
import { log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { PreprocessInput, PreprocessResult } from '../activities/preprocess-input.ts';
import type { PreprocessActivities } from '../activities/preprocess.ts';
import type { Preparation } from '../config/manifests.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import { TaskQueue } from '../config/queues.ts';
import { isOfType } from './root-message.ts';

/** Activities in flight at once: enough to keep a fleet of data workers busy, few enough for one history. */
export const maxInFlight = 50;
/** Activities of one fan-out; with more shards than that, an activity does several. */
export const maxActivities = 400;
/** Up to so many activities of a fan-out each does one shard; above, several, as many as the workers say. */
export const fewActivities = 24;
/** Of each half of the shuffle. */
export const maxShuffleActivities = 40;

/** Code changes while a corpus is made when somebody updates Temper, which is not done often. */
const mostCodes = 5;

export async function preprocessWorkflow(input: PreprocessInput): Promise<PreprocessResult> {
  for (let code = 1; ; code += 1) {
    try {
      return await prepare(input);
    } catch (failure) {
      if (code === mostCodes || !isOfType(failure, FailureType.CodeChanged)) throw failure;
      log.warn('the code changed: prepared again', { runName: input.run, stage: 'preprocess' });
    }
  }
}

async function prepare(input: PreprocessInput): Promise<PreprocessResult> {
  const { dataset, questions, seed, unread } = input;
  const data = await withEvaluationSets(input);
  const conversations = await readConversations(input, data.grams);
  const given = await keptTokenizer(input);
  const asked = {
    ...input,
    data,
    ...(conversations !== undefined && { conversations }),
    ...(given !== undefined && { tokenizer: given }),
  };
  const { corpus, code, numShards, found, shuffle, shardsPerActivity } =
    await activities('look for this corpus').findCorpus(asked);
  if (found !== null) {
    setCurrentDetails(`reused corpus \`${corpus}\``);
    return found;
  }

  setCurrentDetails(`cleaning ${numShards} shards`);
  const shards = { what: 'shard', most: maxActivities, together: shardsPerActivity };
  await fanOut(
    numShards,
    async ({ from, to, label }) => {
      await activities(`clean ${label}`).cleanShards({ dataset, data, from, to });
    },
    shards,
  );
  if (shuffle !== undefined) {
    const numGroups = Math.ceil(numShards / shuffle.groupSize);
    setCurrentDetails(`shuffling fingerprints into ${shuffle.numBuckets} buckets`);
    await fanOut(
      numGroups,
      async ({ from, to, label }) => {
        await activities(`scatter ${label}`).scatterFingerprints({
          dataset,
          data,
          shuffle,
          from,
          to,
        });
      },
      { what: 'group', most: maxShuffleActivities },
    );
    await fanOut(
      shuffle.numBuckets,
      async ({ from, to, label }) => {
        await activities(`resolve ${label}`).resolveBuckets({ dataset, data, shuffle, from, to });
      },
      { what: 'bucket', most: maxShuffleActivities },
    );
  }
  const { duplicates, kept, dropped } = await activities('find duplicates').resolveDuplicates({
    dataset,
    data,
    unread,
    ...(shuffle !== undefined && { shuffle }),
  });

  setCurrentDetails(`${kept} documents kept, ${dropped} dropped; splitting`);
  const { heldOut } = data;
  const {
    split,
    numShards: numTrainShards,
    numLearnt,
  } = await activities('split and order').splitCorpus({
    duplicates,
    heldOut,
    questions,
    seed,
    ...(conversations !== undefined && { conversations }),
  });

  const how = given === undefined ? 'training the tokenizer' : 'keeping the tokenizer';
  setCurrentDetails(`${kept} documents kept, ${dropped} dropped; ${how}`);
  const { tokenizer, vocabSize } =
    given === undefined
      ? await activities('train tokenizer').trainTokenizer({ split, ...trainedWish(input) })
      : await activities('keep the tokenizer').keepTokenizer(given);

  setCurrentDetails(`vocabulary of ${vocabSize}; encoding ${numTrainShards} shards`);
  // What is mixed is measured as it is mixed.
  const early = input.mixed === undefined ? numLearnt : undefined;
  const encode = async ({ from, to, label }: Range): Promise<void> => {
    const order = early === undefined ? {} : { learntFirst: true };
    const asked = { split, tokenizer, from, to, ...order };
    await activities(`encode ${label}`).encodeShards(asked);
  };
  let measured: string | undefined;
  if (early === undefined) {
    await fanOut(numTrainShards, encode, shards);
  } else {
    await fanOut(numTrainShards, encode, { ...shards, to: early });
    const [found] = await Promise.all([
      activities('measure the corpus').measureCorpus({ split, tokenizer }),
      fanOut(numTrainShards, encode, { ...shards, from: early }),
    ]);
    ({ measured } = found);
  }
  const mix =
    input.mixed &&
    (await activities('mix the sources').mixCorpus({ split, tokenizer, seed, mixed: input.mixed }));
  const result = await activities('write the corpus').finishCorpus({
    preparation: preparationOf(input),
    corpus,
    ...(code !== undefined && { code }),
    dataset,
    split,
    tokenizer,
    ...(mix && { mix: mix.mix }),
    ...(measured !== undefined && { measured }),
  });
  const { numTokens } = result.summary;
  setCurrentDetails(
    `${kept} documents kept, ${dropped} dropped; ${numTokens} tokens in \`${corpus}\``,
  );
  log.info('preprocessed', { runName: input.run, stage: 'preprocess', corpus, numTokens });
  return result;
}

/** What the pipeline file asked of the documents, in its own words. */
function preparationOf({ data }: PreprocessInput): Preparation {
  const { quality, personalData, clean, deduplicate, decontaminate, heldOut } = data;
  return {
    quality,
    personalData,
    heldOut,
    ...(clean !== undefined && { clean }),
    ...(deduplicate !== undefined && { deduplicate }),
    ...(decontaminate !== undefined && { decontaminate }),
  };
}

/** What is asked of the documents, with what the evaluation sets say in place of their paths. */
async function withEvaluationSets({ run, data, baseDir }: PreprocessInput) {
  const { decontaminate: paths, conversations: _, ...rest } = data;
  if (paths === undefined || baseDir === undefined) return rest;
  const read = activities('read the evaluation sets').readEvaluationSets({ baseDir, paths });
  const { grams, numRecords, numTooShort } = await read;
  log.info('read the evaluation sets', {
    runName: run,
    stage: 'preprocess',
    numRecords,
    numTooShort,
  });
  return { ...rest, grams };
}

/** Instruction and preference data of files; undefined where the pipeline names none. */
async function readConversations(
  { data, baseDir, seed }: PreprocessInput,
  grams: PreprocessInput['data']['grams'],
) {
  const { conversations: sources, personalData, heldOut } = data;
  if (sources === undefined || baseDir === undefined) return undefined;
  return await activities('read the conversations').readConversations({
    baseDir,
    sources,
    personalData,
    heldOut,
    seed,
    ...(grams !== undefined && { grams }),
  });
}

/** The tokenizer of an earlier model, or the one that the pipeline names; undefined where one is trained. */
async function keptTokenizer({ tokenizer, tokenizerWish: wish, baseDir }: PreprocessInput) {
  if (tokenizer !== undefined || wish === undefined || !('from' in wish)) return tokenizer;
  if (baseDir === undefined) return undefined;
  return await activities('read the tokenizer').takeTokenizer({ baseDir, from: wish.from });
}

function trainedWish({ tokenizerWish: wish }: PreprocessInput) {
  return wish !== undefined && 'train' in wish ? { wish } : {};
}

/** A killed worker is noticed within the heartbeat's time-out and its work done again within seconds. */
function activities(summary: string) {
  return proxyActivities<PreprocessActivities>({
    taskQueue: TaskQueue.data,
    summary,
    startToCloseTimeout: '30m',
    heartbeatTimeout: '10s',
    retry: {
      nonRetryableErrorTypes,
      initialInterval: '500ms',
      maximumInterval: '3s',
      maximumAttempts: 100,
    },
  });
}

interface Range {
  from: number;
  to: number;
  label: string;
}

interface FanOut {
  /** What the numbers count, in the singular. */
  what: string;
  most: number;
  /** Done by one activity at most, as long as there need not be more for `most`; left out: one. */
  together?: number | undefined;
  /** Of all that is numbered, a part; left out: all. */
  from?: number;
  to?: number;
}

async function fanOut(
  numShards: number,
  work: (range: Range) => Promise<void>,
  { what, most, together = 1, from: first = 0, to: end = numShards }: FanOut,
): Promise<void> {
  const few = Math.min(together, Math.ceil(numShards / fewActivities));
  const size = Math.max(1, few, Math.ceil(numShards / most));
  const ranges: Range[] = [];
  for (let from = first; from < end; from += size) {
    const to = Math.min(end, from + size);
    const place = size === 1 ? `${what} ${to}` : `${what}s ${from + 1} to ${to}`;
    ranges.push({ from, to, label: `${place} of ${numShards}` });
  }
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < ranges.length) await work(ranges[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(maxInFlight, ranges.length) }, lane));
}
