/** Where the training of a phase lies: its recipe in the plan, and the run that trained it. */
import { phasesOf, type PhaseRecipe, type Recipe } from '../../config/recipe.ts';
import { chosenTrial } from '../../registry/decisions.ts';
import type { Store } from '../../registry/store.ts';
import { finishedModel } from './stored.ts';

/** What a plan says of a phase; null where it has none. */
export function phaseRecipe(recipe: Recipe, phase: string): PhaseRecipe | null {
  return phasesOf(recipe).find((one) => one.phase === phase) ?? null;
}

/** The run whose training gave these weights, for a phase that was reused. */
export async function trainerOf(
  store: Store,
  phase: string,
  weights: string,
): Promise<{ run: string; round: number; trial: number } | null> {
  const heads = new Map<string, { run: string; round: number; at: number }>();
  for await (const { key, lastModified } of store.list('runs/')) {
    const [, run, of, round, trial, file] = key.split('/');
    if (of !== phase || trial === undefined || file !== 'head.json') continue;
    // Where several rates were tried, one of the trials stands for the phase.
    heads.set(`${run}/${round}`, { run: run!, round: Number(round), at: lastModified.getTime() });
  }
  for (const { run, round } of [...heads.values()].toSorted((a, b) => b.at - a.at).slice(0, 50)) {
    const model = await finishedModel(store, run, { phase, round }).catch(() => null);
    if (model?.files['model.safetensors']?.sha256 === weights) {
      return { run, round, trial: await chosenTrial(store, { run, phase, round }) };
    }
  }
  return null;
}
