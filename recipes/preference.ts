/** Which of the shapes that a budget can train is taken: the likeliest, the quickest to answer, or the smallest. */
import type { Preference } from '../config/goal.ts';
import type { ModelShape, Reason } from '../config/recipe.ts';
import { countLayers } from './masked-shapes.ts';
import { countParameters } from './shapes.ts';

export interface Trainable {
  shape: ModelShape;
  numParameters: number;
  /** Expected, in bits a byte. */
  bpb: number;
}

/** By how much the expected loss may lie above the lowest, for what is gained instead. */
const tolerance = { quality: 0, latency: 0.05, size: 0.1 } as const;

/** The shape by the preference, of at least one. */
export function preferred<Shape extends Trainable>(
  candidates: readonly Shape[],
  preference: Preference,
): Shape {
  const best = candidates.reduce((low, next) => (next.bpb < low.bpb ? next : low));
  if (preference === 'quality') return best;
  const near = candidates.filter(({ bpb }) => bpb <= best.bpb * (1 + tolerance[preference]));
  const cost = preference === 'size' ? storedBytes : answerFlops;
  return near.reduce((least, next) => (cost(next.shape) < cost(least.shape) ? next : least));
}

/** Bytes of a model as it is stored and served: its weights in 32 bits. */
export function storedBytes(shape: ModelShape): number {
  return 4 * countParameters(shape);
}

/** Operations for one token of an answer, or of a text that is embedded, from whose weights each is read once (Kaplan et al. 2020). */
export function answerFlops(shape: ModelShape): number {
  // Its tokens are looked up, and turned into no words.
  if (shape.family === 'modernbert') return 2 * countLayers(shape);
  const untied = shape.tieEmbeddings ? 0 : shape.vocabSize * shape.hiddenSize;
  return 2 * (countParameters(shape) - untied);
}

/** What a model that is served computes, token by token. */
export function workOf({ family }: ModelShape): string {
  return family === 'modernbert' ? 'of a text' : 'of an answer';
}

/** Why a shape was taken that has not the lowest expected loss; nothing where quality is preferred. */
export function preferenceReasons(
  preference: Preference,
  chosen: Trainable,
  candidates: readonly Trainable[],
): Reason[] {
  if (preference === 'quality') return [];
  const best = preferred(candidates, 'quality');
  const percent = (part: number, whole: number) => Math.round(100 * (1 - part / whole));
  const gain =
    preference === 'size'
      ? `${percent(storedBytes(chosen.shape), storedBytes(best.shape))} % smaller`
      : `${percent(answerFlops(chosen.shape), answerFlops(best.shape))} % less work for a token ${workOf(chosen.shape)}`;
  const found =
    chosen.shape === best.shape
      ? 'the shape of the lowest expected loss is also that'
      : `${gain} than the shape of the lowest expected loss, ${best.bpb.toFixed(2)} bits a byte`;
  return [
    {
      choice: 'preference',
      value: preference,
      reason: `${preference === 'size' ? 'the smallest' : 'the quickest to answer'} shape within ${Math.round(100 * tolerance[preference])} % of the lowest expected loss: ${found}`,
      source: 'prefer, in the pipeline file',
    },
  ];
}
