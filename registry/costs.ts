/**
 * What a run has spent: the time for which machines were leased to it, as its leases recorded it. Kills, retries and
 * pauses spend as long as the lease lasts; waiting for a machine, or for a person who adds to the budget, does not.
 */
import {
  runCostSchema,
  type AddedBudget,
  type LeaseCost,
  type OpenedBudget,
  type RunCost,
} from '../config/run-records.ts';
import type { HeldBudget } from '../config/recipe.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';
import type { TrialPath } from './training.ts';

type Bounds = Pick<HeldBudget, 'timeMs' | 'usd' | 'usdPerHour'>;

const nothing: RunCost = { schemaVersion: 1, leases: [], added: [], opened: [] };

function costKey(run: string): string {
  return `runs/${keyPart('run', run)}/cost.json`;
}

/** The record of a run; an empty one where nothing was spent. */
export async function readCost(store: Store, run: string): Promise<RunCost> {
  return (await readRecord(store, costKey(run), runCostSchema))?.value ?? nothing;
}

async function updateCost(
  store: Store,
  run: string,
  change: (current: RunCost) => RunCost,
): Promise<RunCost> {
  return await updateRecord(store, costKey(run), runCostSchema, (current) =>
    change(current ?? nothing),
  );
}

/** A lease was taken, lengthened or given back. */
export async function recordLease(store: Store, run: string, lease: LeaseCost): Promise<RunCost> {
  const isSame = ({ host, fence }: LeaseCost) => host === lease.host && fence === lease.fence;
  return await updateCost(store, run, (cost) => {
    const known = cost.leases.find(isSame);
    const next = { ...lease, since: known?.since ?? lease.since };
    return { ...cost, leases: [...cost.leases.filter((other) => !isSame(other)), next] };
  });
}

/** The leases of a host that are this training's end now: those that were taken before that time, or with that fence. */
export async function recordRelease(
  store: Store,
  { run, phase, round, trial }: TrialPath,
  {
    host,
    now,
    before = Infinity,
    fence,
  }: { host: string; now: Date; before?: number | undefined; fence?: number },
): Promise<RunCost> {
  const isOurs = (lease: LeaseCost) =>
    lease.host === host &&
    lease.phase === phase &&
    lease.round === round &&
    lease.trial === trial &&
    Date.parse(lease.since) <= before &&
    (fence === undefined || lease.fence === fence) &&
    Date.parse(lease.until) > now.getTime();
  return await updateCost(store, run, (cost) => ({
    ...cost,
    leases: cost.leases.map((lease) =>
      isOurs(lease) ? { ...lease, until: now.toISOString() } : lease,
    ),
  }));
}

/** Adds to the budget; the same order again changes nothing. */
export async function addToBudget(store: Store, run: string, added: AddedBudget): Promise<RunCost> {
  return await updateCost(store, run, (cost) =>
    cost.added.some(({ id }) => id === added.id)
      ? cost
      : { ...cost, added: [...cost.added, added] },
  );
}

/** Keeps where a training began in an execution of its run; the first word counts. */
export async function openBudget(
  store: Store,
  { run, phase, round, trial }: TrialPath,
  { execution, now }: { execution: string; now: Date },
): Promise<RunCost> {
  const place = { execution, phase, round, trial };
  return await updateCost(store, run, (cost) =>
    openingOf(cost, place) !== undefined
      ? cost
      : {
          ...cost,
          opened: [
            ...cost.opened,
            {
              ...place,
              ownMs: spentMs(cost, now, place),
              spentMs: spentMs(cost, now),
              at: now.toISOString(),
            },
          ],
        },
  );
}

type Place = Pick<OpenedBudget, 'phase' | 'round' | 'trial'>;

function isAt(a: Place, b: Place): boolean {
  return a.phase === b.phase && a.round === b.round && a.trial === b.trial;
}

function openingOf(
  { opened }: RunCost,
  place: Place & { execution: string },
): OpenedBudget | undefined {
  return opened.find((one) => one.execution === place.execution && isAt(one, place));
}

/** Machine time until now, of one training or of all. */
export function spentMs({ leases }: Pick<RunCost, 'leases'>, now: Date, of?: Place): number {
  const at = now.getTime();
  return leases
    .filter((lease) => of === undefined || isAt(lease, of))
    .reduce(
      (sum, { since, until }) =>
        sum + Math.max(0, Math.min(Date.parse(until), at) - Date.parse(since)),
      0,
    );
}

const hourMs = 3_600_000;

/** Machine time that the run may spend, with what was added: in the other currency, by the price of the machine. */
export function limitMs(
  { timeMs, usd, usdPerHour }: Bounds,
  { added }: Pick<RunCost, 'added'>,
): number {
  const total = (values: (number | undefined)[]) =>
    values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  const [addedMs, addedUsd] = [
    total(added.map((one) => one.timeMs)),
    total(added.map((one) => one.usd)),
  ];
  const msOf = (dollars: number) => (dollars === 0 ? 0 : (dollars / usdPerHour) * hourMs);
  if (usd === null) return Math.floor((timeMs ?? Infinity) + addedMs + msOf(addedUsd));
  if (timeMs === null) return Math.floor(msOf(usd + addedUsd) + addedMs);
  return Math.floor(Math.min(timeMs + addedMs, msOf(usd + addedUsd)));
}

/** Machine time that one training may spend: its share of what was left of the run's when it began. */
export function ownLimitMs(
  held: Bounds,
  cost: RunCost,
  { share, ...place }: Place & { execution: string; share: number },
): number {
  const opening = openingOf(cost, place) ?? { ownMs: 0, spentMs: 0 };
  return Math.floor(opening.ownMs + (limitMs(held, cost) - opening.spentMs) * share);
}

/** Dollars of machine time. */
export function usdOf(ms: number, usdPerHour: number): number {
  return (ms / hourMs) * usdPerHour;
}
