/** What a newcomer waits for: set-up in a clean clone with an empty home directory, and set-up when all is there. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir } from '../infra/layout.ts';
import { defineBench, say } from './support/bench.ts';

export const install = defineBench({
  name: 'install',
  summary: 'bin/setup in a clean clone of HEAD with an empty home directory, then once more',
  settings: z.strictObject({
    keep: z.boolean().default(false).describe('leave the clone'),
  }),
  async measure({ keep }) {
    // Outside the project, whose own node_modules Node would find from a folder within it.
    const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-install-'));
    let setUpPid: number | undefined;
    // The installers, which set-up started, with it: what they write is thrown away.
    const onSignal = () => {
      if (setUpPid !== undefined) process.kill(-setUpPid, 'SIGTERM');
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    try {
      const clone = path.join(folder, 'clone');
      const home = path.join(folder, 'home');
      mkdirSync(home);
      await execa('git', ['clone', '--quiet', projectDir, clone], { stdin: 'ignore' });
      const { stdout: commit } = await execa('git', ['rev-parse', 'HEAD'], { cwd: clone });
      const setUp = async () => {
        const child = execa('bash', ['bin/setup'], {
          cwd: clone,
          extendEnv: false,
          env: newcomerEnvironment(process.env, home),
          stdin: 'ignore',
          stdout: 'inherit',
          stderr: 'inherit',
          detached: true,
          reject: false,
        });
        setUpPid = child.pid;
        const { durationMs, failed, shortMessage } = await child;
        setUpPid = undefined;
        if (failed) throw new Error(shortMessage);
        return durationMs / 1000;
      };
      const firstS = await setUp();
      say(`set-up of ${commit.slice(0, 12)}: ${firstS.toFixed(1)} s`);
      const againS = await setUp();
      say(`the same again: ${againS.toFixed(2)} s`);
      return {
        figures: { commit, firstS, againS },
        bounds: [
          { name: 'set-up, seconds', value: firstS, max: 360 },
          { name: 'set-up when done, seconds', value: againS, max: 2 },
        ],
      };
    } finally {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
      if (keep) say(`kept: ${folder}`);
      else rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  },
});

/** This environment without what npm adds to a script's, without caches, and with another home; a chosen registry stays. */
export function newcomerEnvironment(
  env: Record<string, string | undefined>,
  home: string,
): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      (!/^npm_/i.test(entry[0]) ||
        /^npm_config_(registry|https?_proxy|noproxy|cafile)$/i.test(entry[0])) &&
      !/^(XDG_|PIP_CACHE_DIR$|INIT_CWD$|NODE$|NODE_COMPILE_CACHE$|TEMPER_|VIRTUAL_ENV$)/.test(
        entry[0],
      ),
  );
  const folders = (env['PATH'] ?? '').split(path.delimiter);
  const found = folders.filter(
    (folder) => !/node_modules\/\.bin|node-gyp-bin/.test(folder) && !folder.startsWith(projectDir),
  );
  return { ...Object.fromEntries(kept), HOME: home, PATH: found.join(path.delimiter) };
}
