/** The model from elsewhere that a pipeline adapts: what is known of it before it is imported. */
import path from 'node:path';
import { knownBases, type KnownBase } from '../config/base-models.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { familyNames, type Machine, type ModelShape } from '../config/recipe.ts';
import { isBase } from '../config/start-from.ts';
import { refuseTooLarge } from '../recipes/adaptation.ts';
import { DoesNotFit } from '../recipes/memory.ts';
import { readFolderShape } from './config-shape.ts';
import { ClientError } from './errors.ts';
import { readGgufShape } from './gguf-shape.ts';

export interface PlannedBase {
  title: string;
  /** null: not known here. */
  license: string | null;
  /** In words: where its files come from. */
  origin: string;
  shape: ModelShape;
  /** What its tokenizer makes of a character; null: not known here. */
  tokensPerCharacter: KnownBase['tokensPerCharacter'] | null;
}

interface Asked {
  pipeline: Pipeline;
  baseDir: string;
}

/** The model from elsewhere that a pipeline adapts, as far as it can be known before it is imported. */
export async function baseFor({
  pipeline: { startFrom },
  baseDir,
}: Asked): Promise<PlannedBase | null> {
  if (!isBase(startFrom)) return null;
  const known = knownBases[startFrom];
  if (known !== undefined) {
    const { title, license, shape, tokensPerCharacter } = known;
    const origin = `the Python package ${known.package} ${known.version}, which the first run installs`;
    return { title, license, origin, shape, tokensPerCharacter };
  }
  const place = path.resolve(baseDir, startFrom);
  const shape = place.endsWith('.gguf') ? await readGgufShape(place) : await readFolderShape(place);
  if (shape === null) {
    throw new ClientError(
      'input',
      `startFrom: the size of ${startFrom} cannot be read; expected a GGUF file or a transformers folder with the config.json ` +
        `of a ${familyList}, or ${Object.keys(knownBases).join(', ')}. Nothing was started.`,
    );
  }
  const title = path.basename(place);
  return { title, license: null, origin: startFrom, shape, tokensPerCharacter: null };
}

const familyList = Object.values(familyNames).join(', ');

/** Throws where the base that a pipeline adapts does not fit into the machine's memory: before it is imported. */
export async function requireRoomForBase(request: Asked & { machine: Machine }): Promise<void> {
  const base = await baseFor(request);
  if (base === null) return;
  try {
    refuseTooLarge(request.machine, base);
  } catch (error) {
    if (!(error instanceof DoesNotFit)) throw error;
    throw new ClientError('input', error.message, error);
  }
}
