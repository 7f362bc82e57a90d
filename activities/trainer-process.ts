/**
 * The trainer as a process that outlives its watcher: start it in a session of its own, find it
 * again after a restart, and signal it only when it is certainly the one that was meant.
 */
import { spawn } from 'node:child_process';
import { open, readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TrainerPid {
  pid: number;
  /** Clock ticks after boot: a reused pid has another. */
  startTime: number;
}

const trainerModule = /^trainer\.(launch|pretrain|sft|dpo|orpo)$/;

/**
 * Every living process that runs a module of the trainer on this run directory: torchrun's agent and the ranks.
 * Naming its files is not enough: an editor does so too.
 */
export async function findTrainer(runDir: string): Promise<TrainerPid[]> {
  const config = path.join(runDir, 'run.json');
  const found: TrainerPid[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    try {
      const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
      const module = argv[argv.indexOf('-m') + 1] ?? '';
      if (!argv.includes(config) || !argv.includes('-m') || !trainerModule.test(module)) continue;
      const startTime = await startTimeOf(pid);
      if (startTime !== null) found.push({ pid, startTime });
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Looks twice: a process that is just being replaced by another program shows no command line for a moment. */
export async function trainerIsGone(runDir: string): Promise<boolean> {
  return await createSight(runDir)();
}

/**
 * As `trainerIsGone`, for whoever asks again and again: while a process that was seen lives on, one file of
 * /proc is read instead of all.
 */
export function createSight(runDir: string): () => Promise<boolean> {
  let seen: TrainerPid[] = [];
  const look = async () => {
    seen = await findTrainer(runDir);
    return seen.length > 0;
  };
  return async () => {
    for (const { pid, startTime } of seen) {
      if ((await startTimeOf(pid)) === startTime) return false;
    }
    if (await look()) return false;
    await sleep(300);
    return !(await look());
  };
}

/** Null when the process is gone or only waits to be reaped. */
export async function startTimeOf(pid: number): Promise<number | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The command name, in parentheses, may hold spaces: count fields after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : Number(fields[19]);
  } catch {
    return null;
  }
}

/** Sends the signal to each process that is still the same one. */
export async function signalTrainer(trainer: TrainerPid[], signal: NodeJS.Signals): Promise<void> {
  for (const { pid, startTime } of trainer) {
    if ((await startTimeOf(pid)) !== startTime) continue;
    try {
      process.kill(pid, signal);
    } catch {
      // It ended in between: that is what we wanted.
    }
  }
}

/**
 * SIGTERM lets the trainer save; after `graceMs` what is left is killed. The time in which it `isOccupied` is not
 * counted: in the middle of a save or an evaluation it hears nothing. Resolves when none lives.
 */
export async function endTrainer(
  runDir: string,
  graceMs: number,
  isOccupied: () => Promise<boolean> = async () => false,
): Promise<void> {
  await signalTrainer(await findTrainer(runDir), 'SIGTERM');
  let deadline = performance.now() + graceMs;
  for (;;) {
    const alive = await findTrainer(runDir);
    if (alive.length === 0) return;
    if (await isOccupied()) deadline = performance.now() + graceMs;
    if (performance.now() > deadline) await signalTrainer(alive, 'SIGKILL');
    await sleep(200);
  }
}

/** A launcher that was killed took nothing of its scratch away; who starts the next one knows that none lives. */
async function removeScratch(runDir: string): Promise<void> {
  for (const name of await readdir(runDir)) {
    if (name.startsWith('scratch-'))
      await rm(path.join(runDir, name), { recursive: true, force: true });
  }
}

/** Starts `python -m trainer.launch` (torchrun) detached; its output goes to trainer.log in the run directory. */
export async function startTrainer(options: {
  python: string;
  projectDir: string;
  runDir: string;
}): Promise<void> {
  const { python, projectDir, runDir } = options;
  await removeScratch(runDir);
  const log = await open(path.join(runDir, 'trainer.log'), 'a');
  try {
    const child = spawn(
      python,
      ['-m', 'trainer.launch', '--config', path.join(runDir, 'run.json')],
      {
        cwd: projectDir,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        // Only what the trainer needs: a credential in its environment could end up in a core dump or a log.
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          LANG: 'C.UTF-8',
          PYTHONUNBUFFERED: '1',
        },
      },
    );
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
  } finally {
    await log.close();
  }
}
