/** What a run has spent and may spend, from S3 alone; and the input with which one that had ended goes on. */
import { recipeSchema, type HeldBudget } from '../config/recipe.ts';
import { runInputsSchema, runSpecSchema, type AddedBudget } from '../config/run-records.ts';
import type { Ending } from '../config/manifests.ts';
import { limitMs, readCost, spentMs, usdOf } from '../registry/costs.ts';
import { getModel } from '../registry/models.ts';
import { findChampion } from '../registry/parents.ts';
import { getRunRecord } from '../registry/runs.ts';
import type { Store } from '../registry/store.ts';
import { endingOf } from '../registry/training.ts';
import type { BudgetOrder, PipelineInput } from '../workflows/messages.ts';
import { ClientError } from './errors.ts';
import { headsOf, inputOf } from './recover.ts';

export interface RunBudget {
  run: string;
  /** Machine time; null where nothing bounds it. */
  spentMs: number;
  limitMs: number | null;
  usdPerHour: number;
  spentUsd: number;
  limitUsd: number | null;
  /** What happens when it is spent; null: it is only planned for. */
  whenSpent: HeldBudget['whenSpent'] | null;
  numLeases: number;
  added: AddedBudget[];
  /** Trainings that it has ended, newest last. */
  endings: (Ending & { phase: string; round: number })[];
}

/** Null for a run of which nothing is stored. */
export async function readBudget(store: Store, run: string, now: Date): Promise<RunBudget | null> {
  const spec = await getRunRecord(store, run, 'spec', runSpecSchema);
  if (spec === null) return null;
  // A plan of another version of Temper is none that this one could hold.
  const plan = await getRunRecord(store, run, 'plan', recipeSchema).catch(() => null);
  const held = plan?.held ?? null;
  const cost = await readCost(store, run);
  const spent = spentMs(cost, now);
  const usdPerHour = held?.usdPerHour ?? priceOf(spec.pipeline);
  const limit = held && limitMs(held, cost);
  // They are looked for among everything that the run has stored.
  const heads = held === null ? [] : await headsOf(store, run);
  return {
    run,
    spentMs: spent,
    limitMs: limit,
    usdPerHour,
    spentUsd: usdOf(spent, usdPerHour),
    limitUsd: limit === null || usdPerHour === 0 ? null : usdOf(limit, usdPerHour),
    whenSpent: held?.whenSpent ?? null,
    numLeases: cost.leases.length,
    added: cost.added,
    endings: heads.flatMap(({ phase, round, head }) =>
      (head.endings ?? []).map((ending) => ({ ...ending, phase, round })),
    ),
  };
}

/** Of a run that has no recipe yet, or whose budget is not held. */
function priceOf(pipeline: unknown): number {
  const budget = (pipeline as { budget?: { usdPerHour?: number } } | null)?.budget;
  return budget?.usdPerHour ?? 0;
}

/**
 * The input with which a run that has ended goes on: what it was asked then, and what is added. Refuses one that no
 * budget has ended.
 */
export async function continuationOf(
  store: Store,
  run: string,
  order: BudgetOrder,
): Promise<PipelineInput> {
  const refuse = (why: string): never => {
    throw new ClientError('input', `run ${run} has ended, and ${why}`);
  };
  const spec = await getRunRecord(store, run, 'spec', runSpecSchema);
  const held = (await getRunRecord(store, run, 'plan', recipeSchema))?.held;
  if (spec === null) return refuse(`S3 does not remember what it was asked: start a new one.`);
  if (held === undefined) {
    return refuse(
      'its budget was planned for, not held: it was trained to its last planned step. Start a new run with a larger budget.',
    );
  }
  if (order.usd !== undefined && held.usdPerHour === 0) {
    return refuse('it has no price of the machine: add time instead, such as 30m.');
  }
  const heads = await headsOf(store, run);
  const unfinished = heads.some(({ head }) => head.finished === null);
  if (!unfinished && !heads.some(({ head }) => endingOf(head) !== undefined)) {
    return refuse(
      'its budget had ended none of its trainings: each was trained to its last planned step. Start a new run with a larger budget.',
    );
  }
  const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema);
  const input = inputOf(run, spec, inputs);
  const follows = await followedBy(store, input);
  return { ...input, ...(follows !== undefined && { follows }), added: order };
}

/** The champion that its model may replace: the one that it set out to follow, or its own of before. */
async function followedBy(store: Store, input: PipelineInput): Promise<number | null | undefined> {
  if (input.follows === undefined) return undefined;
  const champion = await findChampion(store, input.pipeline.name);
  if (champion === null) return input.follows;
  const version = await getModel(store, champion.name, champion.version);
  return version?.lineage.run === input.run ? champion.version : input.follows;
}

/** `30m`, `1h30m` or `90s`, in milliseconds. */
export function parseTime(text: string): number {
  const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)];
  const whole = parts.map(([part]) => part).join('') === text && parts.length > 0;
  const ms = parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * unitMs[unit!]!, 0);
  if (whole && ms >= 1) return Math.round(ms);
  throw new ClientError(
    'input',
    `budget: found ${JSON.stringify(text)}, expected a time such as 30m, 90s or 2h.`,
  );
}

/** `5` or `$5`. */
export function parseDollars(text: string): number {
  const value = /^\$?(\d+(?:\.\d+)?)$/.exec(text)?.[1];
  if (value !== undefined && Number(value) > 0) return Number(value);
  throw new ClientError(
    'input',
    `--usd: found ${JSON.stringify(text)}, expected dollars above 0, such as 5 or 2.50.`,
  );
}
