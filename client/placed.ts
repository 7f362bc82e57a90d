/**
 * Where a fault stands in the pipeline file that it is about. What is found out after the file was read is told in a sentence
 * that begins with its field, whoever found it: `data.sources: found …`, `model.config ./config.json: found …`.
 */
import { pipelineSchema } from '../config/pipeline.ts';
import { ClientError } from './errors.ts';
import { schemaAt } from './schema-tree.ts';

export interface FilePlace {
  file: string;
  /** Both count from one. */
  line: number;
  column: number;
}

/** Knows where the keys of a pipeline file stand in it. */
export interface Placing {
  placeOf: (keys: readonly PropertyKey[]) => FilePlace;
}

/** Like ClientError, and says where in the pipeline file. */
export class PlacedError extends ClientError {
  readonly place: FilePlace;
  constructor(place: FilePlace, { kind, message }: ClientError, cause?: unknown) {
    super(kind, `${place.file}:${place.line}:${place.column} ${message}`, cause);
    this.place = place;
  }
}

/** Does the work; a fault that begins with a field is thrown with the place of that field in the file. */
export async function inFile<Result>(
  { placeOf }: Placing,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ClientError) || error instanceof PlacedError) throw error;
    const keys = keysOf(error.message);
    throw keys === null ? error : new PlacedError(placeOf(keys), error, error.cause);
  }
}

/** A key alone may be the first word of any sentence, so a colon must follow it; not so a path of keys. */
const fieldFirst = /^([a-z]\w*(?:\.\w+|\[\d+\])*):|^([a-z]\w*(?:\.\w+|\[\d+\])+) /i;

const topKeys = new Set(schemaAt(pipelineSchema, []).flatMap(({ keys }) => keys));

/** The keys of the field that a sentence begins with; null: it begins with none. */
export function keysOf(message: string): PropertyKey[] | null {
  const [, alone, followed] = fieldFirst.exec(message) ?? [];
  const field = alone ?? followed;
  if (field === undefined || !topKeys.has(/^\w+/.exec(field)![0])) return null;
  return Array.from(field.matchAll(/\w+/g), ([key]) => (/^\d/.test(key) ? Number(key) : key));
}
