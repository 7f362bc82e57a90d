/** Two things side by side, field by field: what comparisons of model versions and of runs share. Pure. */
import { phasesOf, type Recipe } from '../config/recipe.ts';

export interface DiffRow {
  part: string;
  field: string;
  /** null where one has no such thing. */
  a: string | number | null;
  b: string | number | null;
}

export type Facts = Map<string, { part: string; value: string | number | null }>;

/** Every field that one of them has, in the order of the parts; equal ones too. */
export function joinFacts(parts: readonly string[], left: Facts, right: Facts): DiffRow[] {
  return [...new Set([...left.keys(), ...right.keys()])]
    .map((field) => ({
      part: (left.get(field) ?? right.get(field))!.part,
      field,
      a: left.get(field)?.value ?? null,
      b: right.get(field)?.value ?? null,
    }))
    .toSorted((one, other) => parts.indexOf(one.part) - parts.indexOf(other.part));
}

/** The choices that decide the bits: `pretrain.learningRate`, `model.numLayers` … */
export function recipeFields(recipe: Recipe): [field: string, value: string | number][] {
  const { model, numParameters, round } = recipe;
  const groups = { model, ...Object.fromEntries(phasesOf(recipe).map((one) => [one.phase, one])) };
  return [
    ['parameters', numParameters],
    ['round', round + 1],
    ...Object.entries(groups).flatMap(([group, fields]) => leaves(group, fields)),
  ];
}

/** `pretrain.lora.rank` too. */
function leaves(name: string, value: unknown): [field: string, value: string | number][] {
  if (typeof value !== 'object' || value === null) {
    return [[name, typeof value === 'number' ? value : String(value)]];
  }
  return Object.entries(value).flatMap(([field, inner]) => leaves(`${name}.${field}`, inner));
}
