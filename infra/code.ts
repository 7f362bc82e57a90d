/** The project's code as one digest: a worker keeps what it loaded at its start, so a stack must know which code that was. */
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

const rooms = [
  'activities',
  'config',
  'corpus',
  'recipes',
  'registry',
  'serving',
  'trainer',
  'workers',
  'workflows',
];
const patterns = [
  ...rooms.map((room) => `${room}/**/*.{ts,py,json,jinja}`),
  'package-lock.json',
  '*.{toml,txt,lock}',
];

/** SHA-256 over the paths and bytes of all that workers and trainers load. */
export function digestCode(projectDir: string): string {
  const files = globSync(patterns, { cwd: projectDir }).filter(
    (file) => !file.includes('__pycache__'),
  );
  const hash = createHash('sha256');
  for (const file of files.toSorted()) {
    const bytes = readFileSync(path.join(projectDir, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}
