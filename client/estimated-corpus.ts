/** The figures of a corpus that no run has prepared yet: from a look at its sources, or from what is registered of a dataset. */
import { glob, stat } from 'node:fs/promises';
import path from 'node:path';
import type { HeldOutSize } from '../config/held-out.ts';
import type { DatasetManifest } from '../config/manifests.ts';
import { isMixed, timesRead } from '../config/mixing.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { mixedSources, type Source } from '../config/sources.ts';
import type { Survey } from '../config/survey.ts';
import type { ReadText } from '../recipes/loss.ts';
import { readOfMixture } from '../recipes/mixture.ts';
import { chatSizes, type ChatSizes } from '../recipes/tuning.ts';
import { chooseVocabSize, estimateTokens } from '../recipes/vocabulary.ts';
import type { CorpusFigures } from './corpus-figures.ts';
import { ClientError } from './errors.ts';
import { lookAtSources, nothingToRead, type LookRequest } from './look-at-sources.ts';

/** From what is registered of a version; what cleaning and duplicates will take of it is not known yet. */
export async function estimateDataset(
  { pipeline, baseDir }: LookRequest,
  { name, version, numDocuments, bytes }: DatasetManifest,
): Promise<CorpusFigures> {
  return {
    origin: `an estimate from the text of ${name}@${version}; a run plans again from what it counts`,
    estimated: true,
    numDocuments,
    numTokens: estimateTokens(bytes),
    bytes,
    heldOut: estimateHeldOut(pipeline, numDocuments, estimateTokens(bytes)),
    vocabSize: chooseVocabSize(bytes),
    ...(await estimateAnswers(pipeline, baseDir, numDocuments)),
  };
}

/** Of two documents one is held out at least, and never all. */
function estimateHeldOut({ data }: Pipeline, numDocuments: number, numTokens: number): HeldOutSize {
  const wanted = Math.max(1, Math.round(numDocuments * data.heldOut));
  const number = Math.min(wanted, Math.max(1, numDocuments) - 1);
  const share = number / Math.max(1, numDocuments);
  return { numDocuments: number, numTokens: Math.round(numTokens * share) };
}

/** Chats and preferences, of questions and of conversations. */
async function estimateAnswers(
  pipeline: Pipeline,
  baseDir: string,
  numDocuments: number,
): Promise<Pick<CorpusFigures, 'numChats' | 'numPreferences' | 'chats'>> {
  const read = await estimateConversations(pipeline, baseDir);
  const phrasings = pipeline.questions.reduce((sum, group) => sum + group.ask.length, 0);
  return {
    numChats: phrasings * numDocuments + read,
    numPreferences: pipeline.questions.length * numDocuments + read,
    chats: estimateChats(pipeline.questions),
  };
}

/** From a look at the sources. */
export async function estimateCorpus({ pipeline, ...from }: LookRequest): Promise<CorpusFigures> {
  const { sources = [], sample } = pipeline.data;
  const surveys = await lookAtSources({ pipeline, ...from });
  const sum = (count: (survey: Survey) => number) =>
    surveys.reduce((total, survey) => total + count(survey), 0);
  const bytes = Math.ceil(sum(({ textBytes }) => textBytes) * sample);
  if (bytes === 0) throw nothingToRead(sources, surveys);
  const numDocuments = Math.max(1, Math.round(sum((survey) => survey.numDocuments) * sample));
  const vocabSize = chooseVocabSize(bytes);
  const numTokens = estimateTokens(bytes);
  const textBytes = surveys.map((survey) => survey.textBytes * sample);
  const mixed = estimateMixture(pipeline.data.sources ?? [], textBytes, numTokens / bytes);
  return {
    ...(mixed && { read: mixed }),
    origin: `an estimate from the text of ${sum(({ numFiles }) => numFiles)} files${sample < 1 ? ' and the sample' : ''}; a run plans again from what it counts`,
    estimated: true,
    numDocuments,
    numTokens,
    bytes,
    heldOut: estimateHeldOut(pipeline, numDocuments, numTokens),
    vocabSize,
    ...(await estimateAnswers(pipeline, from.baseDir, numDocuments)),
    languages: surveys
      .flatMap(({ languages }) => languages)
      .map((each) => ({ ...each, textBytes: each.textBytes * sample })),
  };
}

/** As if each took so many bytes and were as good as any other: what they are is told once they are read. */
const conversationBytes = 700;
/** Text of JSON is about a third of its size when it was packed. */
const packedShare = 3;

async function estimateConversations({ data }: Pipeline, baseDir: string): Promise<number> {
  let bytes = 0;
  for (const { path: pattern } of data.conversations ?? []) {
    let found = false;
    for await (const file of glob(pattern, { cwd: baseDir })) {
      const { size } = await stat(path.resolve(baseDir, file));
      bytes += file.endsWith('.gz') ? size * packedShare : size;
      found = true;
    }
    if (!found) {
      throw new ClientError(
        'input',
        `data.conversations: found no file ${pattern}, expected .json, .jsonl or .jsonl.gz. Nothing was started.`,
      );
    }
  }
  return Math.ceil(bytes / conversationBytes);
}

/** As if each `{field}` stood for as much text as its name in braces, and a few words more in the answer. */
function estimateChats(questions: Pipeline['questions']): ChatSizes {
  return chatSizes(
    questions.flatMap(({ ask, answer }) =>
      ask.map((question) => ({
        messages: [{ content: question }, { content: answer.padEnd(answerBytes) }],
      })),
    ),
  );
}
const answerBytes = 24;

/** What an epoch of so many bytes of each source would read; undefined where nothing is mixed. */
function estimateMixture(
  sources: readonly Source[],
  bytes: readonly number[],
  tokensPerByte: number,
): ReadText | undefined {
  if (!isMixed(sources)) return undefined;
  const given = mixedSources(sources).map((source, at) => ({
    ...source,
    numTokens: Math.round(bytes[at]! * tokensPerByte),
  }));
  for (const { name, weight, repeat, numTokens } of given) {
    if (numTokens > 0 || (weight === undefined && repeat === undefined)) continue;
    const wish = weight === undefined ? `repeat ${repeat}` : `weight ${weight}`;
    throw new ClientError(
      'input',
      `data.sources: found no text in ${name}, which has ${wish}, expected some. Correct the source, or remove it. Nothing was started.`,
    );
  }
  const times = timesRead(given);
  const size = (numTokens: number) => ({
    numDocuments: 0,
    numTokens: Math.round(numTokens),
    bytes: Math.round(numTokens / tokensPerByte),
  });
  return readOfMixture({
    sources: given.map(({ name, numTokens }, at) => ({
      source: name,
      whole: size(numTokens),
      used: size(numTokens * Math.min(1, times[at]!)),
      epoch: size(numTokens * times[at]!),
    })),
  });
}
