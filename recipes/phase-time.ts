/** Where the time of a phase goes: its steps, and where a model that exists is trained, what comes beside them. */
import type { Machine, ModelShape, PhaseRecipe, PhaseTime, Reason } from '../config/recipe.ts';
import { storedBytes } from './preference.ts';
import { trainingFlopsPerToken } from './shapes.ts';
import { readBytesPerS, trainerStartMs, trainingSpeed, writeBytesPerS } from './speed.ts';

/** Of the held-out text, what the trainer scores at most. */
export const mostScoredTokens = 1 << 18;
/** Of the arithmetic of training on a token with all weights. */
const forwardShare = 1 / 3;

type Trained = Pick<PhaseRecipe, 'phase' | 'lora'>;

/** From the start of a trainer to its first step: libraries, and the weights that it begins with. */
export function startMs(shape: ModelShape, { phase, lora }: Trained): number {
  // Without its adapters a model is the reference of DPO by itself; else a second one is loaded.
  const copies = phase === 'dpo' && lora === undefined ? 2 : 1;
  return trainerStartMs + (1000 * copies * storedBytes(shape)) / readBytesPerS;
}

/** From the last step to a stored model; adapters are added to a base that is read once more. */
export function modelMs(shape: ModelShape, { lora }: Pick<Trained, 'lora'>): number {
  const written = (1000 * storedBytes(shape)) / writeBytesPerS;
  return lora === undefined ? written : written + (1000 * storedBytes(shape)) / readBytesPerS;
}

/** What a phase takes beside its steps, held-out text apart. */
export function besideMs(shape: ModelShape, trained: Trained): number {
  return startMs(shape, trained) + modelMs(shape, trained);
}

/** What reading so much of the held-out text once takes, in rows of that length. */
export function evaluationMs(
  machine: Machine,
  shape: ModelShape,
  { contextLength, heldOutTokens }: { contextLength: number; heldOutTokens: number },
): number {
  const rows = Math.ceil(Math.min(heldOutTokens, mostScoredTokens) / contextLength);
  const flops = rows * contextLength * trainingFlopsPerToken({ ...shape, contextLength });
  return ((flops * forwardShare) / trainingSpeed(machine, shape.hiddenSize)) * 1000;
}

/** How often the trainer reads the held-out text: on its way and at the end, there with the adapters and without. */
export function numEvaluations(recipe: PhaseRecipe): number {
  if (recipe.phase !== 'pretrain') return 0;
  const onTheWay = Math.floor((recipe.numSteps - 1) / recipe.evalEverySteps);
  return onTheWay + (recipe.lora === undefined ? 1 : 2);
}

/** The parts of a phase's time, in milliseconds. */
export function phaseTime(
  recipe: PhaseRecipe,
  shape: ModelShape,
  { stepMs, scoringMs = 0 }: { stepMs: number; scoringMs?: number },
): PhaseTime {
  return {
    phase: recipe.phase,
    startMs: Math.round(startMs(shape, recipe)),
    stepsMs: Math.round(recipe.numSteps * stepMs),
    scoringMs: Math.round(numEvaluations(recipe) * scoringMs),
    modelMs: Math.round(modelMs(shape, recipe)),
  };
}

/**
 * Those of a model from random weights: it is small, and the speed that it is planned by was measured from its first step
 * to its end.
 */
export function ownPhaseTime(recipe: PhaseRecipe, stepMs: number): PhaseTime {
  const { phase, numSteps } = recipe;
  const stepsMs = Math.round(numSteps * stepMs);
  return { phase, startMs: trainerStartMs, stepsMs, scoringMs: 0, modelMs: 0 };
}

/** All of it, in milliseconds. */
export function totalMs(times: readonly PhaseTime[]): number {
  return times.reduce(
    (sum, { startMs: start, stepsMs, scoringMs, modelMs: model }) =>
      sum + start + stepsMs + scoringMs + model,
    0,
  );
}

/** What of the time is no step, in words, with the rates that it is counted by. */
export function timeReason(times: readonly PhaseTime[], shape: ModelShape): Reason {
  const seconds = (part: keyof Omit<PhaseTime, 'phase'>) =>
    Math.round(times.reduce((sum, time) => sum + time[part], 0) / 1000);
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
  const scored = seconds('scoringMs');
  return {
    choice: 'time',
    value: `${seconds('stepsMs')} s of steps, ${seconds('startMs') + scored + seconds('modelMs')} s beside them`,
    reason:
      `${seconds('startMs')} s until ${times.length === 1 ? 'the first step' : 'the first steps of each phase'}, ` +
      (scored === 0 ? '' : `${scored} s for the held-out text, `) +
      `${seconds('modelMs')} s to write and store the model: ${megabytes(storedBytes(shape))} of weights are read at ${megabytes(readBytesPerS)} ` +
      `and written at ${megabytes(writeBytesPerS)} a second`,
    source:
      'measured in docs/log.md; Kaplan et al. 2020 for the scoring, a third of the work of training on a token',
  };
}
