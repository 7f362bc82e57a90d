/**
 * The version of the code that a stage's result depends on, so that a result made by other code is
 * never taken for this one's. It is a digest of files, not of a release: unrelated changes keep it.
 *
 * What a worker itself runs it has loaded: whoever depends on that asks once, when the worker starts. What it
 * starts as a program of its own is read from the disk each time, so whoever depends on that asks each time.
 */
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** SHA-256 over the paths and bytes of the files that the globs match in the project, as they are now. */
export function codeVersion(projectDir: string, globs: string[]): string {
  const files = new Set<string>();
  for (const glob of globs) {
    const matches = globSync(glob, { cwd: projectDir });
    if (matches.length === 0) {
      throw new Error(
        `code version: found no file ${glob} in ${projectDir}, expected at least one. Install Temper again.`,
      );
    }
    for (const match of matches) files.add(match.split(path.sep).join('/'));
  }
  const hash = createHash('sha256');
  for (const file of [...files].toSorted((a, b) => (a < b ? -1 : 1))) {
    const bytes = readFileSync(path.join(projectDir, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}
