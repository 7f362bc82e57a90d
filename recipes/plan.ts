/**
 * The planner: from the statistics of a corpus, the goal, the budget and the machine to a recipe, with
 * a reason for each choice. Pure: the same inputs give the same recipe, on any day and any host.
 */
import type { GateMetric } from '../config/gates.ts';
import type { Preference } from '../config/goal.ts';
import type {
  DpoRecipe,
  Family,
  GivenShape,
  Machine,
  MeasuredModel,
  ModelShape,
  Phase,
  PhaseRecipe,
  PretrainRecipe,
  ReadingRecipe,
  Recipe,
  SftRecipe,
} from '../config/recipe.ts';
import type { TokenizerWish } from '../config/tokenizer.ts';
import { planAdaptation } from './adaptation.ts';
import { usualChatTokens, waysOfAllWeights } from './chat-phases.ts';
import {
  mostReplayed,
  rewarmedRate,
  rewarmingSteps,
  type PlannedParent,
  type Replay,
} from './continuation.ts';
import { shapeWithin, type Limits } from './limits.ts';
import {
  distinctTokens,
  expectedBitsPerByte,
  expectedOfText,
  mostReadable,
  uniqueOf,
  type ReadText,
} from './loss.ts';
import { packingReasons } from './packing.ts';
import { explain } from './plan-reasons.ts';
import { ownPhaseTime, timeReason, totalMs } from './phase-time.ts';
import { endingOnPlateau } from './plateau.ts';
import { preferenceReasons, preferred } from './preference.ts';
import { countParameters, givenShape, ladder } from './shapes.ts';
import { availableBytes, inMemory, memoryReasons, trainingBytes, type Ranks } from './memory.ts';
import {
  mostEpochs,
  msPerPretrainedToken,
  onOneHost,
  pretrainingStepMs,
  ratesOf,
  warmup,
} from './pretraining.ts';
import { losingAtMost, lostIfKilledMs, saveEvery, stepReasons } from './step.ts';
import { planSweep, type SweepWish } from './sweep.ts';
import { boundTokens } from './tokens.ts';
import { planTuning, usualChats, type ChatSizes } from './tuning.ts';
import { bestPrecision, paceReasons, trainerStartMs } from './speed.ts';

export interface PlanInputs {
  statistics: ReadText;
  goal: 'base' | 'adapt' | 'assistant' | 'embeddings';
  /** Training time of all phases. */
  budgetMs: number;
  /** End pretraining where the held-out text gets no likelier any more. */
  stopOnPlateau?: boolean | undefined;
  /** What comes first where a shape is chosen; left out, quality. */
  prefer?: Preference | undefined;
  /** Time of a step as it was measured on the machine, against the estimate; left out, 1. */
  pace?: number | undefined;
  /** Sequences at once, at most, as the machine ran out of memory with more; left out, as many as should fit. */
  microBatch?: Partial<Record<Phase, number>> | undefined;
  machine: Machine;
  /** Processes that pretrain together, and how they share the weights; left out, one. */
  ranks?: Ranks['ranks'];
  parallelism?: Ranks['parallelism'];
  seed: number;
  vocabSize: number;
  /** What the pipeline file says of the tokenizer; left out, nothing. */
  tokenizer?: TokenizerWish | undefined;
  /** Architecture of a model from scratch; left out, a Llama. */
  family?: Family | undefined;
  /** A configuration of transformers, in place of a family and a size. */
  given?: MeasuredModel | undefined;
  numChats: number;
  numPreferences: number;
  /** Whose pretraining goes on; without it, training starts from random weights. */
  parent?: PlannedParent | null | undefined;
  /** Older documents at a share of their own, where a version is gone on from; left out, they lie among the others. */
  replay?: Replay | undefined;
  /** How long the chats are; left out, as usual. */
  chats?: ChatSizes;
  /** Whether chats share rows while SFT learns from them; left out, where that saves enough of a model that exists. */
  packing?: boolean | undefined;
  /** Learning rates to try; left out, the planned one alone. */
  sweep?: SweepWish | undefined;
  /** A model from elsewhere that is adapted, in words and its shape. */
  base?: { title: string; shape: ModelShape } | undefined;
  /** What is fixed beforehand where a model is made from random weights; left out, nothing. */
  limits?: Limits | undefined;
  /** Tokens that are held out, which takes time where a model that exists is adapted; left out, none. */
  heldOutTokens?: number | undefined;
}

/** How a model of an earlier round missed its gates. */
export interface MissedGate {
  metric: GateMetric;
  value: number | null;
}

/** What a later round changes: more of the phase that fell short, at another rate. */
interface Turn {
  round: number;
  pretrain: { time: number; rate: number };
  tune: { time: number; rate: number };
}
const firstTurn: Turn = { round: 0, pretrain: { time: 1, rate: 1 }, tune: { time: 1, rate: 1 } };

const minAssistantWidth = 192;
/** Of the corpus: a larger model learns so little text by heart, which no loss law foretells. */
export const mostParametersPerToken = 20;
/** Below this a wide model has seen too little text for its width to help. */
const minTokensPerParameter = 0.3;
/** Fewer hardly leave the warm-up. */
const leastSteps = 20;
const { sft: sftWay, dpo: dpoWay } = waysOfAllWeights;
/** Of the budget, where a model that exists reads documents before it is tuned. */
const adaptationShare = 0.5;

export function planRecipe(inputs: PlanInputs): ReadingRecipe {
  return within(inputs, (affordable) => {
    const recipe =
      adapting(affordable, { round: 0, documents: 0, chats: 0 }) ?? plan(affordable, firstTurn);
    return ending(affordable, recipe);
  });
}

/** Another recipe for the next round: the phase that missed its gate trains half as long again, at a lower rate. */
export function replanRecipe(
  inputs: PlanInputs,
  previous: Recipe,
  missed: MissedGate[],
): ReadingRecipe {
  const round = previous.round + 1;
  const more = { time: 1.5 ** round, rate: 0.7 ** round };
  const base = missed.some(({ metric }) => metric === 'valBpb');
  const rounds = { round, documents: base ? round : 0, chats: base ? 0 : round };
  const recipe = within(inputs, (affordable) => {
    const planned =
      adapting(affordable, rounds) ??
      plan(affordable, {
        round,
        pretrain: base ? more : firstTurn.pretrain,
        tune: base ? firstTurn.tune : more,
      });
    return ending(affordable, planned);
  });
  // What passed its gates stays as it was, so that its model is reused.
  const { model, pretrain, sweep } = previous;
  if (base || pretrain === null) return recipe;
  return { ...recipe, model, pretrain, ...(sweep && { sweep }) };
}

/** Plans with the whole budget, or with what a search for the rate leaves of it. */
export function within(
  inputs: PlanInputs,
  plan: (affordable: PlanInputs) => ReadingRecipe,
): ReadingRecipe {
  const { sweep, budgetMs } = inputs;
  return sweep === undefined
    ? plan(inputs)
    : planSweep(sweep, budgetMs, (left) => plan({ ...inputs, budgetMs: left }));
}

/** As the machine has room for it, and with the rule for an early end where one is asked for. */
export function ending(
  { stopOnPlateau, ...inputs }: PlanInputs,
  planned: ReadingRecipe,
): ReadingRecipe {
  const recipe = fitted(inputs, planned);
  return stopOnPlateau === true ? endingOnPlateau(recipe) : recipe;
}

/** Batches computed in parts where the machine has no room for all of one at once. */
export function fitted<Planned extends Recipe>(
  { machine, base, parent, pace, microBatch, ranks, parallelism }: PlanInputs,
  planned: Planned,
): Planned {
  const { model, pretrain, sft, dpo, orpo, reasons } = planned;
  const millions = (planned.numParameters / 1e6).toFixed(0);
  const origin = base?.title ?? (parent ? `${parent.name}@${parent.version}` : `${millions}M`);
  const fit = <Phase extends PhaseRecipe>(phase: Phase): Phase =>
    inMemory(phase, model, {
      machine,
      limit: microBatch?.[phase.phase],
      ranks,
      parallelism,
      what: `${phase.lora === undefined ? 'pretraining' : 'adapting'} ${origin}`,
    });
  const phases = {
    pretrain: pretrain && fit(pretrain),
    sft: sft && fit(sft),
    dpo: dpo && fit(dpo),
    ...(orpo && { orpo: fit(orpo) }),
  };
  const more = [
    ...(phases.pretrain === null ? [] : stepReasons(phases.pretrain)),
    ...memoryReasons(Object.values(phases), model, machine, ranks),
    ...paceReasons(pace),
  ];
  return { ...planned, ...phases, reasons: [...reasons, ...more] };
}

/** Whether a model that exists is taught by adapters alone; one of ours that is tuned is trained on whole. */
function isAdapted({ goal, base, parent }: PlanInputs): boolean {
  return (
    goal === 'adapt' || (goal === 'assistant' && (base !== undefined || parent?.adapted === true))
  );
}

/** Null where the goal and the start are not those of adapters. `documents`, `chats`: how often each was planned again. */
function adapting(
  inputs: PlanInputs,
  { round, documents, chats }: { round: number; documents: number; chats: number },
): ReadingRecipe | null {
  if (!isAdapted(inputs)) return null;
  const { goal, base, parent, budgetMs, numChats, numPreferences } = inputs;
  const origin = base?.title ?? `${parent?.name}@${parent?.version}`;
  const shape = base?.shape ?? parent?.shape;
  if (shape === undefined) throw new Error(`goal ${goal}: found no model to adapt`);
  const tunes = goal === 'assistant' && numChats > 0 && numPreferences > 0;
  const share = tunes ? adaptationShare : 1;
  const common = { ...inputs, origin, shape };
  const adapted = planAdaptation({ ...common, budgetMs: budgetMs * share, round: documents });
  if (!tunes) return { ...adapted, round };
  const tuning = planTuning({
    ...common,
    budgetMs: budgetMs * (1 - share),
    chats: inputs.chats ?? usualChats,
    round: chats,
  });
  const { estimate } = adapted;
  const tuningMs = totalMs(tuning.time);
  const longer = (ms: number) => Math.round(ms + tuningMs * (ms / estimate.trainingMs));
  const time = [...(estimate.time ?? []), ...tuning.time];
  const whole = {
    ...adapted,
    round,
    sft: tuning.sft,
    dpo: tuning.dpo,
    estimate: {
      ...estimate,
      trainingMs: longer(estimate.trainingMs),
      trainingMsLow: longer(estimate.trainingMsLow),
      trainingMsHigh: longer(estimate.trainingMsHigh),
      time,
    },
    reasons: [
      ...adapted.reasons.map((reason) =>
        reason.choice === 'time' ? timeReason(time, shape) : reason,
      ),
      ...tuning.reasons,
    ],
  };
  return losingAtMost(whole, tuning.lostIfKilledMs);
}

function plan(inputs: PlanInputs, turn: Turn): ReadingRecipe {
  const { machine, statistics, seed, vocabSize, parent, replay } = inputs;
  const bytesPerToken = statistics.bytes / Math.max(1, statistics.numTokens);
  const tunes = inputs.goal === 'assistant' && inputs.numChats > 0 && inputs.numPreferences > 0;
  const share = tunes ? { pretrain: 0.56, sft: 0.35, dpo: 0.09 } : { pretrain: 1, sft: 0, dpo: 0 };
  const startMs = trainerStartMs * (tunes ? 3 : 1);
  const trainMs = Math.max(inputs.budgetMs * 0.2, inputs.budgetMs - startMs);
  const pretrainMs = trainMs * share.pretrain * turn.pretrain.time;

  const limits = inputs.limits ?? {};
  const given = givenTo(inputs);
  const contextLength = Math.min(
    given?.contextLength ?? 256,
    parent?.shape.contextLength ?? Infinity,
    limits.contextLength ?? Infinity,
  );
  const batchSize = given === null ? 16 : Math.max(1, Math.round(4096 / contextLength));
  const ours =
    limits.numParameters === undefined
      ? ladder(vocabSize, contextLength, inputs.family)
      : [shapeWithin(limits.numParameters, vocabSize, contextLength, inputs.family)];
  const fixed = given ?? parent?.shape;
  const shapes = fixed
    ? [fixed]
    : ours.filter(
        (shape, rung) =>
          rung === 0 ||
          (hasRoom(inputs, shape, contextLength) &&
            countParameters(shape) <= mostParametersPerToken * distinctTokens(statistics)),
      );
  const pace = inputs.pace ?? 1;
  const candidates = shapes.map((shape) => {
    const msPerToken = msPerPretrainedToken(machine, shape) * pace;
    const affordable = pretrainMs / msPerToken;
    const numParameters = countParameters(shape);
    const maxEpochs = mostEpochs(distinctTokens(statistics), numParameters);
    const { numTokens, bound } = boundTokens({
      budget: affordable,
      epochs:
        replay === undefined
          ? mostReadable(statistics, maxEpochs)
          : mostReplayed(replay, statistics.numTokens, maxEpochs),
      fixed: limits.numTokens,
    });
    const seen = (parent?.numTokens ?? 0) + numTokens;
    const bpb = expectedBitsPerByte(numParameters, seen, uniqueOf(statistics));
    return { shape, msPerToken, numTokens, bound, maxEpochs, numParameters, seen, bpb };
  });
  // The loss alone favours narrow models on a short budget, but facts did not settle in them: after the
  // same tuning a width of 128 answered 58 % of the questions, 192 answered 99 % (docs/log.md).
  const wide = candidates.filter(
    ({ shape, numTokens, numParameters }) =>
      shape.hiddenSize >= minAssistantWidth && numTokens >= minTokensPerParameter * numParameters,
  );
  const eligible = tunes && wide.length > 0 ? wide : candidates;
  const prefer = inputs.prefer ?? 'quality';
  const chosen = preferred(eligible, prefer);
  const { shape, numParameters, seen } = chosen;
  const tokensPerStep = batchSize * contextLength;
  const stepMs = pretrainingStepMs(machine, shape, { batchSize, contextLength }) * pace;
  // Where a step was measured, what it costs beside its tokens is known too.
  const affordableSteps = inputs.pace === undefined ? Infinity : Math.floor(pretrainMs / stepMs);
  const readSteps = Math.floor(chosen.numTokens / tokensPerStep);
  const numSteps = Math.max(leastSteps, Math.min(readSteps, affordableSteps));
  const bound = affordableSteps < readSteps ? 'budget' : chosen.bound;
  const read = numSteps < readSteps ? (parent?.numTokens ?? 0) + numSteps * tokensPerStep : seen;
  const foretold = expectedOfText(numParameters, read, statistics);
  // What knows nothing foretells each token alike: no training is worse.
  const bpb = Math.min(foretold, Math.log2(vocabSize) / bytesPerToken);

  const common = onOneHost(machine, seed);
  const rate = turn.pretrain.rate * (parent ? rewarmedRate : 1);
  const pretrain: PretrainRecipe = {
    phase: 'pretrain',
    ...common,
    numSteps,
    batchSize,
    contextLength,
    ...ratesOf(given, rate, tokensPerStep),
    warmupSteps: parent ? rewarmingSteps(numSteps) : warmup(numSteps),
    decaySteps: Math.floor((numSteps * 2) / 3),
    saveEverySteps: saveEvery(stepMs, numSteps),
    evalEverySteps: Math.max(10, Math.ceil(numSteps / 4)),
    ...(replay && { replay: { share: replay.share } }),
  };

  const chatStepMs = sftWay.batch * usualChatTokens * chosen.msPerToken + sftWay.overheadMs * pace;
  /** Forward of both answers by both models, backward by one: measured at about the cost of SFT on as many rows. */
  const dpoStepMs =
    2 * dpoWay.batch * usualChatTokens * chosen.msPerToken + dpoWay.overheadMs * pace;
  const steps = (timeShare: number, stepCost: number, rows: number) =>
    Math.max(10, Math.floor(turn.tune.time * Math.min((trainMs * timeShare) / stepCost, rows)));
  let sft: SftRecipe | null = null;
  let dpo: DpoRecipe | null = null;
  if (tunes) {
    const sftSteps = steps(share.sft, chatStepMs, (inputs.numChats * sftWay.epochs) / sftWay.batch);
    const dpoSteps = steps(
      share.dpo,
      dpoStepMs,
      (inputs.numPreferences * dpoWay.epochs) / dpoWay.batch,
    );
    const chat = { ...common, contextLength: Math.min(128, contextLength) };
    sft = {
      phase: 'sft',
      ...chat,
      batchSize: sftWay.batch,
      numSteps: sftSteps,
      learningRate: sftWay.rate * turn.tune.rate,
      decaySteps: Math.floor((sftSteps * 3) / 4),
      warmupSteps: warmup(sftSteps),
      saveEverySteps: saveEvery(chatStepMs, sftSteps),
      ...(inputs.packing === true && { packing: true as const }),
    };
    dpo = {
      phase: 'dpo',
      ...chat,
      batchSize: dpoWay.batch,
      numSteps: dpoSteps,
      learningRate: dpoWay.rate * turn.tune.rate,
      decaySteps: dpoSteps - warmup(dpoSteps),
      warmupSteps: warmup(dpoSteps),
      saveEverySteps: saveEvery(dpoStepMs, dpoSteps),
      beta: dpoWay.beta,
    };
  }
  const time = [
    ownPhaseTime(pretrain, stepMs),
    ...(sft === null ? [] : [ownPhaseTime(sft, chatStepMs)]),
    ...(dpo === null ? [] : [ownPhaseTime(dpo, dpoStepMs)]),
  ];
  const trainingMs = totalMs(time);
  const lost = (phase: PhaseRecipe | null, ms: number) =>
    phase === null ? 0 : lostIfKilledMs(phase, { stepMs: ms, startMs: trainerStartMs });
  const lostMs = Math.max(lost(pretrain, stepMs), lost(sft, chatStepMs), lost(dpo, dpoStepMs));
  return {
    schemaVersion: 1,
    round: turn.round,
    machine,
    model: shape,
    numParameters,
    pretrain,
    sft,
    dpo,
    estimate: {
      trainingMs,
      trainingMsLow: Math.round(trainingMs * 0.75),
      trainingMsHigh: Math.round(trainingMs * 1.4),
      time,
      usd: 0,
      valBpbLow: round(bpb * 0.92),
      valBpbHigh: round(bpb * 1.08),
      finalLoss: round(bpb * Math.LN2 * bytesPerToken),
      lostIfKilledMs: lostMs,
    },
    reasons: [
      ...explain(inputs, {
        pretrain,
        sft,
        dpo,
        numParameters,
        seen,
        bpb,
        candidates: eligible.length,
        bound: numSteps > Math.min(readSteps, affordableSteps) ? 'least' : bound,
        maxEpochs: chosen.maxEpochs,
        lostMs,
      }),
      ...preferenceReasons(prefer, chosen, eligible),
      ...(sft?.packing ? packingReasons(sft.contextLength, { rowTokens: 0, saved: null }) : []),
    ],
  };
}

/** The shape that the pipeline file decides, now or when its parent was made; null: the planner's. */
function givenTo({ given, vocabSize, parent }: PlanInputs): GivenShape | null {
  if (given !== undefined) return givenShape(given, vocabSize);
  return parent?.shape.family === 'transformers' ? parent.shape : null;
}

/** Whether a machine has room for one row of a shape. */
export function fitsAlone(machine: Machine, shape: ModelShape, contextLength: number): boolean {
  return hasRoom({ machine }, shape, contextLength);
}

/** Whether a rank has room for a row: with all of the weights, or where they may be parted, with its part. */
function hasRoom(
  { machine, ranks = 1, parallelism }: Pick<PlanInputs, 'machine' | 'ranks' | 'parallelism'>,
  shape: ModelShape,
  contextLength: number,
): boolean {
  const precision = bestPrecision(machine);
  const parts = parallelism === 'ddp' ? 1 : ranks;
  const load = { phase: 'pretrain', contextLength, precision, shape, parts } as const;
  return trainingBytes(load, 1) <= availableBytes(machine);
}

/** To so many places. */
export function round(value: number, places = 3): number {
  return Number(value.toFixed(places));
}
