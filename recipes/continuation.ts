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

/** The reasons that stand in place of those of a first pretraining. */
export function continuationReasons(
  { name, version }: PlannedParent,
  { size, vocabSize }: { size: string; vocabSize: number },
): Reason[] {
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
    {
      choice: 'replay',
      value: 'all older documents',
      reason:
        'given by the data: the new version of the dataset is the whole corpus, and the older documents in it are trained on again in random order among the new ones',
      source,
    },
  ];
}
