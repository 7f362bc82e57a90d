/** Where the training of a phase lies: its recipe in the plan, and the run that trained it. */
import { phasesOf, type PhaseRecipe, type Recipe } from '../../config/recipe.ts';
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
): Promise<{ run: string; round: number } | null> {
  const heads: { run: string; round: number; at: number }[] = [];
  for await (const { key, lastModified } of store.list('runs/')) {
    const [, run, of, round, trial, file] = key.split('/');
    if (of !== phase || trial !== '0' || file !== 'head.json') continue;
    heads.push({ run: run!, round: Number(round), at: lastModified.getTime() });
  }
  for (const { run, round } of heads.toSorted((a, b) => b.at - a.at).slice(0, 50)) {
    const model = await finishedModel(store, run, { phase, round }).catch(() => null);
    if (model?.files['model.safetensors']?.sha256 === weights) return { run, round };
  }
  return null;
}
