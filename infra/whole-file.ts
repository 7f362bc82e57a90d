/** Small files that nobody may ever read by half. */
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** The file appears whole, readable by its owner alone; without `replace` the first writer wins. */
export function writeWhole(file: string, text: string, { replace }: { replace: boolean }): void {
  const part = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.part`);
  try {
    writeFileSync(part, text, { mode: 0o600, flush: true });
    if (replace) renameSync(part, file);
    else linkSync(part, file);
  } catch (error) {
    if (replace || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(part, { force: true });
  }
}
