/**
 * Processes by identity: a pid alone may have been given to another program since it was written
 * down, so nothing is signalled unless its start time still matches.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/<pid>/stat, clock ticks after boot. */
  startTime: number;
}

/** Start time and parent of a living process; null when there is none, or only a zombie. */
export function inspectProcess(pid: number): (ProcessIdentity & { parent: number }) | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return { pid, startTime: Number(fields[19]), parent: Number(fields[1]) };
  } catch {
    return null;
  }
}

/** The arguments of a process, the program first; empty when it cannot be read. */
export function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** Whether this very process still lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return inspectProcess(identity.pid)?.startTime === identity.startTime;
}

/** Sends a signal to this very process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Every living process that carries `name=value` in the environment it was started with. */
export function processesWithEnvironment(name: string, value: string): ProcessIdentity[] {
  const wanted = `\0${name}=${value}\0`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      try {
        const environment = `\0${readFileSync(`/proc/${entry}/environ`, 'utf8')}`;
        if (!environment.includes(wanted)) return [];
        const found = inspectProcess(Number(entry));
        return found === null ? [] : [{ pid: found.pid, startTime: found.startTime }];
      } catch {
        return [];
      }
    });
}

/** SIGTERM, patience, SIGKILL; resolves when all are gone, with the number that were there. */
export async function stopProcesses(
  processes: ProcessIdentity[],
  patienceMs: number,
): Promise<number> {
  const reached = processes.filter((found) => signalProcess(found, 'SIGTERM'));
  await waitUntilGone(reached, patienceMs);
  for (const found of reached) signalProcess(found, 'SIGKILL');
  const left = await waitUntilGone(reached, 5000);
  if (left.length > 0) {
    const pids = left.map((found) => found.pid).join(', ');
    throw new Error(
      `process ${pids} is still there 5 s after SIGKILL, expected it gone: it hangs in the kernel. Look at it with ps, or restart the machine.`,
    );
  }
  return reached.length;
}

/** Waits at most so long; resolves with those that are still there. */
export async function waitUntilGone(
  processes: ProcessIdentity[],
  limitMs: number,
): Promise<ProcessIdentity[]> {
  const deadline = Date.now() + limitMs;
  let left = processes.filter(isAlive);
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(50);
    left = left.filter(isAlive);
  }
  return left;
}
