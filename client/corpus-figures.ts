/** What a plan knows of a corpus, and the same text in the tokens of another vocabulary. */
import type { HeldOutSize } from '../config/held-out.ts';
import type { LearningCurve } from '../config/learning-curve.ts';
import type { Survey } from '../config/survey.ts';
import type { ReadText } from '../recipes/loss.ts';
import type { ChatSizes } from '../recipes/tuning.ts';
import { carriedBy } from './base-carries.ts';
import type { PlannedBase } from './planned-base.ts';

export interface CorpusFigures {
  /** In words, for people: where the figures come from. */
  origin: string;
  estimated: boolean;
  numDocuments: number;
  numTokens: number;
  bytes: number;
  /** What is never trained on. */
  heldOut: HeldOutSize;
  /** The text of an epoch, where more is known of it: what each of several mixed sources gives, or how hard it is to foretell. */
  read?: ReadText;
  vocabSize: number;
  numChats: number;
  numPreferences: number;
  chats: ChatSizes;
  /** Of a look at the sources: their languages, by which the tokens of a base are counted. */
  languages?: Survey['languages'];
}

/** The same text in the tokens of another vocabulary. */
export function inVocabularyOf(
  vocabSize: number,
  corpus: CorpusFigures,
  base: PlannedBase | null,
): CorpusFigures {
  const tokensPerCharacter = base?.tokensPerCharacter ?? null;
  if (corpus.languages !== undefined && tokensPerCharacter !== null) {
    const { numTokens } = carriedBy({ tokensPerCharacter }, { languages: corpus.languages });
    return inTokens(corpus, vocabSize, numTokens);
  }
  const ratio = Math.log2(corpus.vocabSize) / Math.log2(vocabSize);
  return inTokens(corpus, vocabSize, Math.round(corpus.numTokens * ratio));
}

/** As many tokens as that, in the same shares. */
function inTokens(corpus: CorpusFigures, vocabSize: number, numTokens: number): CorpusFigures {
  const { read } = corpus;
  const scaled = (tokens: number) => Math.round((tokens * numTokens) / corpus.numTokens);
  const { heldOut } = corpus;
  return {
    ...corpus,
    vocabSize,
    numTokens,
    heldOut: { ...heldOut, numTokens: scaled(heldOut.numTokens) },
    ...(read && {
      read: {
        ...read,
        numTokens: scaled(read.numTokens),
        mixture: read.mixture?.map((source) => ({
          ...source,
          numTokens: scaled(source.numTokens),
        })),
        learningCurve: read.learningCurve && inPoints(read.learningCurve, scaled),
      },
    }),
  };
}

function inPoints(curve: LearningCurve, scaled: (tokens: number) => number): LearningCurve {
  const points = curve.points.map((point) => ({ ...point, numTokens: scaled(point.numTokens) }));
  return { ...curve, points };
}
