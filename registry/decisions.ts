/** What a run decided on its way and no other record holds: `runs/<run>/decisions.json`. */
import { canonicalJson } from '../config/digest.ts';
import { bestTrial, decisionsSchema, type Decisions, type SweepDecision } from '../config/sweep.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

function decisionsKey(run: string): string {
  return `runs/${keyPart('run', run)}/decisions.json`;
}

/** Null where nothing was decided. */
export async function readDecisions(store: Store, run: string): Promise<Decisions | null> {
  return (await readRecord(store, decisionsKey(run), decisionsSchema))?.value ?? null;
}

/** Adds the decision of a rung; the same again changes nothing, another takes the place of it and of what followed. */
export async function keepDecision(
  store: Store,
  run: string,
  decision: SweepDecision,
): Promise<void> {
  await updateRecord(store, decisionsKey(run), decisionsSchema, (known) => {
    const sweep = known?.sweep ?? [];
    const { phase, round, rung } = decision;
    if (known !== null && sweep.some((one) => sameOf(one) === sameOf(decision))) return known;
    const others = sweep.filter(
      (one) => one.phase !== phase || one.round !== round || one.rung < rung,
    );
    return { ...known, schemaVersion: 1 as const, sweep: [...others, decision] };
  });
}

/** Whenever it was decided. */
function sameOf(decision: SweepDecision): string {
  return canonicalJson({ ...decision, at: null });
}

/** The trial that stands for a phase of a run: the best of those that were tried. */
export async function chosenTrial(
  store: Store,
  at: { run: string; phase: string; round: number },
): Promise<number> {
  return bestTrial((await readDecisions(store, at.run))?.sweep ?? [], at);
}
