/** A host whose trainer is the scripted one, and waiting for what happens on it. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../../activities/deps.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');

/** The dependencies of its activities; a clock of the test's own takes the place of the real one. */
export function scriptedDeps({
  now = () => new Date(),
  ...given
}: Pick<Deps, 'store' | 'home' | 'host' | 'gangAddress'> & Partial<Pick<Deps, 'now'>>): Deps {
  const python = path.join(projectDir, 'test/support/scripted-trainer.mjs');
  return { ...given, python, projectDir, now };
}

/** Waits for a condition, 20 seconds at most. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${condition.toString()}`);
    await sleep(20);
  }
}
