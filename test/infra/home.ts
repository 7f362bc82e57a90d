/** A home folder for one test file, and a clean end: whatever of it still runs is stopped. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stackDown } from '../../infra/stack.ts';

/** Makes an empty home; `remove` stops its stack and deletes it. */
export function makeHome(): { home: string; remove: () => Promise<void> } {
  const home = mkdtempSync(path.join(os.tmpdir(), 'temper-infra-'));
  return {
    home,
    remove: async () => {
      await stackDown(home);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
