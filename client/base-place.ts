/** What a base model on disk must be; whether it can be adapted is found when it is imported. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';

/** What is wrong with a place that should hold a base model; null where nothing is. */
export function baseFault(place: string): { found: string; hint: string | null } | null {
  const state = statSync(place, { throwIfNoEntry: false });
  if (state === undefined) return { found: 'nothing there', hint: null };
  if (state.isDirectory()) {
    return existsSync(path.join(place, 'config.json'))
      ? null
      : { found: 'a folder without a config.json', hint: null };
  }
  if (state.isFile() && place.endsWith('.gguf')) return null;
  const hint = path.basename(place) === 'config.json' ? 'Give the folder that it lies in.' : null;
  return { found: `a file that does not end in .gguf`, hint };
}

export const basePlaces = 'a .gguf file or a transformers folder with a config.json';
