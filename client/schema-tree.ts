/** Looks into a zod schema for the keys that may stand at a place, so that a wrong key can be explained. */
import type { z } from 'zod';

/** One shape that is allowed at a place. */
export interface Schema {
  keys: string[];
  schema: z.ZodType;
}

interface Definition {
  type: string;
  shape?: Record<string, z.ZodType>;
  element?: z.ZodType;
  options?: z.ZodType[];
  innerType?: z.ZodType;
  in?: z.ZodType;
  keyType?: z.ZodType;
  valueType?: z.ZodType;
  entries?: Record<string, string>;
}

/** Every shape with keys that the schema allows at the path. */
export function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): Schema[] {
  const [key, ...rest] = path;
  return unwrap(schema).flatMap((option) => {
    const def = definition(option);
    if (key === undefined) return shapeOf(option);
    const next =
      def.type === 'object'
        ? def.shape?.[String(key)]
        : def.type === 'record'
          ? def.valueType
          : def.type === 'array'
            ? def.element
            : undefined;
    return next === undefined ? [] : schemaAt(next, rest);
  });
}

/** Whether every word that a shape fixes for a key, such as the name of a step, is the one that the value has. */
export function isMeant({ schema }: Schema, value: object): boolean {
  return Object.entries(definition(schema).shape ?? {}).every(([key, child]) => {
    const { type } = definition(child);
    if (type !== 'literal' && type !== 'enum') return true;
    return child.safeParse((value as Record<string, unknown>)[key]).success;
  });
}

/** Paths of the parents under which the schema knows this key. */
export function knownPlaces(schema: z.ZodType, key: string, at: string[] = []): string[][] {
  const found: string[][] = [];
  for (const option of unwrap(schema)) {
    const def = definition(option);
    for (const [name, child] of Object.entries(def.shape ?? {})) {
      if (name === key && at.length > 0) found.push(at);
      found.push(...knownPlaces(child, key, [...at, name]));
    }
    if (def.type === 'record') {
      if (recordKeys(def).includes(key)) found.push(at);
      if (def.valueType) found.push(...knownPlaces(def.valueType, key, at));
    }
    if (def.element) found.push(...knownPlaces(def.element, key, at));
  }
  return found.filter(
    (places, index) => found.findIndex((other) => other.join() === places.join()) === index,
  );
}

function shapeOf(schema: z.ZodType): Schema[] {
  const def = definition(schema);
  if (def.type === 'object') return [{ keys: Object.keys(def.shape ?? {}), schema }];
  if (def.type === 'record') return [{ keys: recordKeys(def), schema }];
  return [];
}

function recordKeys(def: Definition): string[] {
  const keys = def.keyType === undefined ? undefined : definition(def.keyType).entries;
  return Object.values(keys ?? {});
}

/** The schemas behind defaults, optionals, pipes and unions. */
function unwrap(schema: z.ZodType): z.ZodType[] {
  const def = definition(schema);
  if (def.type === 'union') return (def.options ?? []).flatMap(unwrap);
  if (def.type === 'pipe' && def.in) return unwrap(def.in);
  return def.innerType ? unwrap(def.innerType) : [schema];
}

function definition(schema: z.ZodType): Definition {
  return schema.def as unknown as Definition;
}
