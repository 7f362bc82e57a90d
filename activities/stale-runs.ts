/**
 * Folders of trainings that this host will not go on with: a host that was away comes back to what another host has
 * taken over or finished, and a run that was terminated clears nothing away. Each holds checkpoints and a whole model.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Leases } from '../config/manifests.ts';
import { phaseNames } from '../config/recipe.ts';
import { readLeases } from '../registry/leases.ts';
import { readHead, type TrialPath } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { readRun } from './trainer-files.ts';
import { trainerIsGone } from './trainer-process.ts';
import { inRunDir } from './trainer-start.ts';
import { explaining } from './trainer-stop.ts';
import { hostPool, leaseTtlMs } from './training-job.ts';

const everyMs = 3_600_000;
/** A run whose control plane is away for long finds its newest checkpoint here, which may be in no store yet. */
const abandonedMs = 7 * 24 * everyMs;
/** Of a folder whose run.json cannot be read: the longest that any plan sets. */
const unknownUnwatchedS = 600;

type Warn = (details: { error: unknown }, message: string) => void;

/** At once, and every hour until the process ends. */
export function sweepRunFoldersAgain(deps: Deps, warn: Warn): void {
  const sweep = () => {
    // The store is away, or the disk: the next look finds the same.
    sweepRunFolders(deps, warn).catch((error: unknown) => {
      warn({ error }, 'the folders of trainings are not looked through');
    });
  };
  sweep();
  setInterval(sweep, everyMs).unref();
}

/** Removes what nobody goes on with here. Whatever cannot be told for certain stays, and keeps no other. */
export async function sweepRunFolders(deps: Deps, warn: Warn): Promise<void> {
  const { hosts } = await readLeases(deps.store, hostPool);
  for (const folder of await foldersIn(path.join(deps.home, 'runs'))) {
    for (const runDir of await foldersIn(folder)) {
      await inRunDir(runDir, async () => await sweepRunFolder(deps, hosts, runDir)).catch(
        (error: unknown) => warn({ error }, `${runDir} is left as it is`),
      );
    }
  }
}

async function sweepRunFolder(deps: Deps, hosts: Leases['hosts'], runDir: string): Promise<void> {
  const now = deps.now().getTime();
  const { unwatchedExitS } = (await readRun(runDir))?.recipe ?? {
    unwatchedExitS: unknownUnwatchedS,
  };
  const quietMs = now - (await lastWatched(runDir));
  if (quietMs < leaseTtlMs(unwatchedExitS) || !(await trainerIsGone(runDir))) return;
  if (path.basename(runDir).startsWith('calibration')) {
    await rm(runDir, { recursive: true, force: true });
    return;
  }
  const trial = trialOf(runDir);
  if (trial === null) return;
  const head = (await readHead(deps.store, trial))?.value;
  if (head === undefined) return;
  const holders = Object.entries(hosts).flatMap(([host, lease]) =>
    lease !== null && Date.parse(lease.expiresAt) > now && isOfTraining(lease.holder, trial)
      ? host
      : [],
  );
  if (holders.includes(deps.host)) return;
  if (head.finished !== null || holders.length > 0) {
    await rm(runDir, { recursive: true, force: true });
  } else if (quietMs > abandonedMs) {
    // Why a training failed stays readable.
    for (const name of await readdir(runDir)) {
      if (!explaining.includes(name))
        await rm(path.join(runDir, name), { recursive: true, force: true });
    }
  }
}

/** When its trainer was told last that somebody watches; of one that never was, when the folder changed. */
async function lastWatched(runDir: string): Promise<number> {
  const control = await stat(path.join(runDir, 'control.json')).catch(() => null);
  return (control ?? (await stat(runDir))).mtimeMs;
}

/** As `runDirOf` names it; null for what is no folder of a training. */
function trialOf(runDir: string): TrialPath | null {
  const match = /^(\w+)-(\d+)-(\d+)$/.exec(path.basename(runDir));
  const phase = phaseNames.find((name) => name === match?.[1]);
  if (match === null || phase === undefined) return null;
  const run = path.basename(path.dirname(runDir));
  return { run, phase, round: Number(match[2]), trial: Number(match[3]) };
}

/** Leases are held by the workflow that trains: of the round, or of one trial of it. */
function isOfTraining(holder: string, { run, phase, round, trial }: TrialPath): boolean {
  const training = `training/${run}/${phase}/${round}`;
  return holder === training || holder === `${training}/${trial}`;
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(folder, name));
}
