/**
 * The plan of a pipeline that names its phases: a part of the whole plan where documents are read first,
 * a plan of its own where a model that exists is tuned as it is.
 */
import {
  phasesOf,
  type DpoRecipe,
  type ModelShape,
  type OrpoRecipe,
  type Phase,
  type Reason,
  type Recipe,
  type SftRecipe,
} from '../config/recipe.ts';
import { adapters as adaptersMerged, loraRank } from './adaptation.ts';
import {
  chatStepMs,
  planChatPhase,
  usualChatTokens,
  type ChatPhase,
  type ChatPhaseInputs,
} from './chat-phases.ts';
import { hardnessOf } from './hardness.ts';
import { expectedBitsPerByte } from './loss.ts';
import { planMasked } from './masked.ts';
import { inMemory, memoryReasons } from './memory.ts';
import { packingReasons } from './packing.ts';
import {
  besideMs,
  modelMs,
  ownPhaseTime,
  phaseTime,
  startMs,
  timeReason,
  totalMs,
} from './phase-time.ts';
import { fitted, planRecipe, replanRecipe, type MissedGate, type PlanInputs } from './plan.ts';
import { countParameters } from './shapes.ts';
import { trainerStartMs } from './speed.ts';
import { checkpointsReason, losingAtMost, lostIfKilledMs } from './step.ts';
import { chatRow, usualChats } from './tuning.ts';

/** Of the time, where SFT is followed by an alignment. */
const sftShare = 0.8;
/** Of a model from scratch, whose chats are short. */
const wholeContextLength = 128;
type Turn = ChatPhaseInputs['turn'];
const firstTurn: Turn = { time: 1, rate: 1 };

/** The recipe of exactly these phases; left out, of those that the goal decides. */
export function planPhases(inputs: PlanInputs, phases?: readonly Phase[]): Recipe {
  if (inputs.goal === 'embeddings') return planMasked(inputs, { round: 0, ...firstTurn });
  if (phases !== undefined && !phases.includes('pretrain')) {
    return planTuningAlone(inputs, phases, { round: 0, turn: firstTurn });
  }
  return partOf(planRecipe(inputs), inputs, { phases, turn: firstTurn });
}

/** Another recipe for the next round: what missed its gate trains half as long again, at a lower rate. */
export function replanPhases(
  inputs: PlanInputs,
  phases: readonly Phase[] | undefined,
  { previous, missed }: { previous: Recipe; missed: MissedGate[] },
): Recipe {
  const round = previous.round + 1;
  const turn = { time: 1.5 ** round, rate: 0.7 ** round };
  if (inputs.goal === 'embeddings') return planMasked(inputs, { round, ...turn });
  if (previous.pretrain === null) return planTuningAlone(inputs, phases ?? [], { round, turn });
  const whole = replanRecipe(inputs, previous, missed);
  const reads = missed.some(({ metric }) => metric === 'valBpb');
  return partOf(whole, inputs, { phases, turn: reads ? firstTurn : turn });
}

/** The phases that are named of a plan of all: each stays as it was, so that its result can be shared. */
function partOf(
  whole: Recipe,
  inputs: PlanInputs,
  { phases, turn }: { phases: readonly Phase[] | undefined; turn: Turn },
): Recipe {
  const { sft, dpo, pretrain, estimate } = whole;
  if (phases === undefined || pretrain === null || sft === null || dpo === null) return whole;
  if (phases.includes('sft') && phases.includes('dpo')) return whole;
  const adapters = sft.lora !== undefined;
  const { pace } = inputs;
  const setting: Setting = { ...rowsOf(inputs, whole.model, adapters), adapters, turn, pace };
  const costs = (phase: ChatPhase, afterSft: boolean) =>
    chatStepMs(phase, { ...setting, machine: inputs.machine, shape: whole.model, afterSft });
  // Of a model from random weights nothing but the start is counted beside the steps.
  const fixedMs = adapters ? besideMs(whole.model, sft) : trainerStartMs;
  const sftMs = fixedMs + sft.numSteps * costs('sft', false);
  const dpoMs = fixedMs + dpo.numSteps * costs('dpo', true);
  const kept = phases.includes('sft') ? sft : null;
  const freedMs = dpoMs + (kept === null ? sftMs : 0);
  let orpo: OrpoRecipe | undefined;
  let orpoMs = 0;
  let orpoStepMs = 0;
  if (phases.includes('orpo')) {
    const afterSft = kept !== null;
    const timeMs = Math.max(0, freedMs - fixedMs);
    const planned = planChatPhase('orpo', {
      ...setting,
      ...examplesOf('orpo', inputs),
      machine: inputs.machine,
      seed: inputs.seed,
      shape: whole.model,
      afterSft,
      timeMs: timeMs / turn.time,
    });
    orpo = inMemory(planned, whole.model, {
      machine: inputs.machine,
      limit: inputs.microBatch?.orpo,
      what: 'ORPO',
    });
    orpoStepMs = costs('orpo', afterSft);
    orpoMs = fixedMs + orpo.numSteps * orpoStepMs;
  }
  const ratio = (estimate.trainingMs - freedMs + orpoMs) / estimate.trainingMs;
  const time = estimate.time && [
    ...estimate.time.filter(({ phase }) => phase === 'pretrain' || (phase === 'sft' && kept)),
    ...(orpo
      ? [
          adapters
            ? phaseTime(orpo, whole.model, { stepMs: orpoStepMs })
            : ownPhaseTime(orpo, orpoStepMs),
        ]
      : []),
  ];
  const { dpo: _, ...rest } = whole;
  const part = {
    ...rest,
    sft: kept,
    dpo: null,
    ...(orpo && { orpo }),
    estimate: {
      ...estimate,
      trainingMs: Math.round(estimate.trainingMs * ratio),
      trainingMsLow: Math.round(estimate.trainingMsLow * ratio),
      trainingMsHigh: Math.round(estimate.trainingMsHigh * ratio),
      ...(time && { time }),
    },
    reasons: [
      ...whole.reasons
        .filter(
          ({ choice }) =>
            !/tuning|micro-batch of/.test(choice) && (choice !== 'packing' || kept !== null),
        )
        .map((reason) =>
          reason.choice === 'time' && time ? timeReason(time, whole.model) : reason,
        ),
      ...(adapters ? [adapterReason] : []),
      ...tuningReasons({ sft: kept, dpo: null, orpo }),
      ...memoryReasons([kept, orpo ?? null], whole.model, inputs.machine),
    ],
  };
  const start = adapters ? startMs(whole.model, sft) : trainerStartMs;
  const endMs = adapters ? modelMs(whole.model, sft) : 0;
  const lostMs = orpo ? lostIfKilledMs(orpo, { stepMs: orpoStepMs, startMs: start, endMs }) : 0;
  return losingAtMost(part, lostMs);
}

/** All of the budget for a model that exists, whose documents are not read again. */
function planTuningAlone(
  inputs: PlanInputs,
  phases: readonly Phase[],
  { round, turn }: { round: number; turn: Turn },
): Recipe {
  const { base, parent, machine, seed, budgetMs, statistics } = inputs;
  const shape = base?.shape ?? parent?.shape;
  if (shape === undefined) {
    throw new Error(`phases ${phases.join(', ')}: found no model to tune`);
  }
  const adapters = base !== undefined || parent?.adapted === true;
  const { pace } = inputs;
  const setting: Setting = { ...rowsOf(inputs, shape, adapters), adapters, turn, pace };
  const lora = adapters ? adaptersMerged(1) : undefined;
  const fixedMs = phases.reduce((sum, phase) => sum + besideMs(shape, { phase, lora }), 0);
  const trainMs = Math.max(budgetMs * 0.2, budgetMs - fixedMs);
  const afterSft = phases.includes('sft');
  const common = (phase: ChatPhase): ChatPhaseInputs => ({
    ...setting,
    ...examplesOf(phase, inputs),
    machine,
    seed,
    shape,
    afterSft,
    timeMs: trainMs * (phases.length === 1 ? 1 : phase === 'sft' ? sftShare : 1 - sftShare),
  });
  const sft = afterSft ? planChatPhase('sft', common('sft')) : null;
  const dpo = phases.includes('dpo') ? planChatPhase('dpo', common('dpo')) : null;
  const orpo = phases.includes('orpo') ? planChatPhase('orpo', common('orpo')) : undefined;
  const tuned = [sft, dpo, orpo].filter((phase) => phase != null);
  const stepMs = (phase: ChatPhase) => chatStepMs(phase, common(phase));
  const time = tuned.map((recipe) => phaseTime(recipe, shape, { stepMs: stepMs(recipe.phase) }));
  const trainingMs = totalMs(time);
  const lostMs = Math.max(
    ...tuned.map((recipe) =>
      lostIfKilledMs(recipe, {
        stepMs: stepMs(recipe.phase),
        startMs: startMs(shape, recipe),
        endMs: modelMs(shape, recipe),
      }),
    ),
  );
  const numParameters = countParameters(shape);
  const [low, high] = expectedOf(inputs, numParameters);
  const bytesPerToken = statistics.bytes / Math.max(1, statistics.numTokens);
  const title = base?.title ?? `${parent?.name}@${parent?.version}`;
  return fitted(inputs, {
    schemaVersion: 1,
    round,
    machine,
    model: shape,
    numParameters,
    pretrain: null,
    sft,
    dpo,
    ...(orpo && { orpo }),
    estimate: {
      trainingMs,
      trainingMsLow: Math.round(trainingMs * 0.75),
      trainingMsHigh: Math.round(trainingMs * 1.6),
      time,
      usd: 0,
      valBpbLow: low,
      valBpbHigh: high,
      finalLoss: Number((((low + high) / 2) * Math.LN2 * bytesPerToken).toFixed(3)),
      lostIfKilledMs: lostMs,
    },
    reasons: [
      {
        choice: 'start',
        value: title,
        reason: 'it is tuned as it is: the documents give the questions, and are not read again',
        source: 'phases',
      },
      adapters ? adapterReason : wholeReason,
      ...tuningReasons({ sft, dpo, orpo }),
      timeReason(time, shape),
      checkpointsReason(tuned[0]!, lostMs),
      {
        choice: 'chat length',
        value: `${setting.contextLength} tokens`,
        reason: adapters
          ? 'holds the longest chat: no end of an answer is cut off'
          : 'holds the chats of a model from scratch',
        source: 'counted in the data',
      },
      ...(sft === null ? [] : packingReasons(setting.contextLength, setting.packing)),
    ],
  });
}

type Setting = Pick<
  ChatPhaseInputs,
  'adapters' | 'turn' | 'contextLength' | 'rowTokens' | 'packing' | 'pace'
>;

function rowsOf(
  { statistics, packing: asked, chats = usualChats }: PlanInputs,
  shape: ModelShape,
  adapters: boolean,
): Pick<ChatPhaseInputs, 'contextLength' | 'rowTokens' | 'packing'> {
  if (adapters) return chatRow({ statistics, shape, chats, asked });
  const contextLength = Math.min(wholeContextLength, shape.contextLength);
  const rowTokens = usualChatTokens;
  const packing = asked === true ? { rowTokens, saved: null } : undefined;
  return { contextLength, rowTokens, packing };
}

function examplesOf(phase: ChatPhase, { numChats, numPreferences }: PlanInputs) {
  return { numExamples: phase === 'sft' ? numChats : numPreferences };
}

/** Bits a byte of the model as it is: what a tuning starts from. */
function expectedOf({ base, parent, statistics }: PlanInputs, numParameters: number) {
  if (base !== undefined || parent?.adapted === true) return [0.55, 1] as const;
  const numTokens = Math.max(1, parent?.numTokens ?? statistics.numTokens);
  const alike = expectedBitsPerByte(numParameters, numTokens, numTokens);
  const bpb = alike * hardnessOf(statistics, numTokens);
  return [Number((bpb * 0.92).toFixed(3)), Number((bpb * 1.08).toFixed(3))] as const;
}

const adapterReason: Reason = {
  choice: 'tuning method',
  value: `LoRA of rank ${loraRank}, merged whole after each phase`,
  reason: 'few chats move few weights, and what the model knew is kept',
  source: 'Hu et al. 2021; Biderman et al. 2024',
};
const wholeReason: Reason = {
  choice: 'tuning method',
  value: 'all weights',
  reason: 'a small model from scratch has no room to spare: all of it learns',
  source: 'measured in docs/log.md',
};

/** What is tuned, at which rates, and why. */
function tuningReasons(phases: {
  sft: SftRecipe | null;
  dpo: DpoRecipe | null;
  orpo: OrpoRecipe | undefined;
}): Reason[] {
  const words: Record<ChatPhase, string> = {
    sft: 'answer in chat',
    dpo: 'prefer the right answer to a wrong one, against the model that it began with',
    orpo:
      phases.sft === null
        ? 'learn the right answer and prefer it to a wrong one at once, so without SFT and without a reference'
        : 'prefer the right answer to a wrong one while going on to learn it, without a reference',
  };
  const sources: Record<ChatPhase, string> = {
    sft: 'Ouyang et al. 2022',
    dpo: 'Rafailov et al. 2023',
    orpo: 'Hong et al. 2024',
  };
  const tuned = phasesOf({ pretrain: null, ...phases, orpo: phases.orpo });
  const names = tuned.map(({ phase }) => phase).filter((phase) => phase !== 'pretrain');
  const value = tuned.map(({ phase, numSteps }) => `${numSteps} steps of ${phase.toUpperCase()}`);
  const rates = tuned.map(
    ({ phase, learningRate }) => `${learningRate} for ${phase.toUpperCase()}`,
  );
  const adapters = tuned.some(({ lora }) => lora !== undefined);
  const rateReasons: Record<ChatPhase, string> = {
    sft: adapters
      ? 'SFT: the rate of the adapters that learn documents; others were not tried'
      : 'SFT: the rate that was measured best',
    dpo: adapters
      ? 'DPO: a tenth of that of SFT, as for small models; not measured with adapters'
      : 'DPO: a light touch, for more of it costs answers that SFT taught',
    orpo:
      phases.sft === null
        ? 'ORPO: two fifths of the rate of SFT, a choice that was not measured'
        : 'ORPO: a tenth of the rate of SFT, which taught the answers already; not measured',
  };
  return [
    {
      choice: 'fine-tuning',
      value: value.join(', '),
      reason: names.map((phase) => `${phase.toUpperCase()} to ${words[phase]}`).join('; '),
      source: names.map((phase) => sources[phase]).join('; '),
    },
    {
      choice: 'tuning rate',
      value: `AdamW ${rates.join(', ')}`,
      reason: names.map((phase) => rateReasons[phase]).join('; '),
      source:
        adapters || names.includes('orpo')
          ? 'docs/log.md, which says what was measured'
          : 'measured in docs/log.md',
    },
  ];
}
