/** What changes when a model goes on from another's weights instead of from random ones, and why. */
import type { ModelShape, Reason } from '../config/recipe.ts';

export interface PlannedParent {
  name: string;
  version: number;
  shape: ModelShape;
  /** Tokens that its weights have seen already. */
  numTokens: number;
  /** By LoRA around a model that existed: what it learns further, it learns in the same way. */
  adapted?: true;
}

/** Of the first peak: high enough to learn what is new, low enough to keep what was learned. */
export const rewarmedRate = 0.3;
/** Of the steps: a rate that jumps throws the weights out of their valley. */
const rewarmingShare = 0.05;

export function rewarmingSteps(numSteps: number): number {
  return Math.ceil(numSteps * rewarmingShare);
}

/** Older documents that are trained on again among new ones, at a share that was asked for. */
export interface Replay {
  /** Of the windows. */
  share: number;
  /** Tokens of the documents that are new to the parent, and of those that are not; null as long as nobody has parted them. */
  numTokens: { unread: number; older: number } | null;
}

/** Tokens that may be trained on before the documents of either kind came too often. */
export function mostReplayed(
  { share, numTokens }: Replay,
  allTokens: number,
  maxEpochs: number,
): number {
  if (numTokens === null) return allTokens * maxEpochs;
  return Math.min(numTokens.unread / (1 - share), numTokens.older / share) * maxEpochs;
}

/** Why older documents come as often as they do. */
export function replayReason({ name, version }: PlannedParent, replay: Replay | undefined): Reason {
  const source = 'Ibrahim et al. 2024; Gupta et al. 2023';
  if (replay === undefined) {
    return {
      choice: 'replay',
      value: 'all older documents',
      reason:
        'given by the data: the new version of the dataset is the whole corpus, and the older documents in it are trained on again in random order among the new ones',
      source,
    };
  }
  const { share, numTokens } = replay;
  const thousands = (count: number) => `${Math.round(count / 1000)}K`;
  const told =
    numTokens === null
      ? ''
      : `; ${thousands(numTokens.unread)} tokens are new, ${thousands(numTokens.older)} older`;
  return {
    choice: 'replay',
    value: `${Number((share * 100).toFixed(2))} % of the windows`,
    reason: `as the pipeline file asks, from the documents that ${name}@${version} was trained on: more keeps more of them, less learns the new ones sooner${told}`,
    source,
  };
}

/** The reasons that stand in place of those of a first pretraining. */
export function continuationReasons(
  from: PlannedParent,
  { size, vocabSize, replay }: { size: string; vocabSize: number; replay: Replay | undefined },
): Reason[] {
  const { name, version } = from;
  const parent = `${name}@${version}`;
  const source = 'Ibrahim et al. 2024; Gupta et al. 2023';
  return [
    {
      choice: 'size',
      value: size,
      reason: `that of ${parent}, whose pretrained weights it goes on from`,
      source: 'startFrom',
    },
    {
      choice: 'vocabulary',
      value: String(vocabSize),
      reason: `the tokenizer of ${parent}: its weights know no other`,
      source: 'startFrom',
    },
    {
      choice: 're-warming',
      value: `peak rate ${rewarmedRate} of the first, ${rewarmingShare * 100} % warm-up`,
      reason:
        'the rate of the parent had fallen to zero; it rises again, but less high, so that little is forgotten',
      source,
    },
    replayReason(from, replay),
  ];
}
