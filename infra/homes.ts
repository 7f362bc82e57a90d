/** Every home on this machine that has a stack, so that none is given ports that another has, whether it is up or down. */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { writeWhole } from './whole-file.ts';

/** Of this user. Lost with the temporary folder, it fills again: each home is noted whenever it is used. */
export const homesFile = (): string =>
  path.join(tmpdir(), `temper-${process.getuid!()}-homes.json`);

const homesSchema = z.array(z.string());
/** As much of stack.json as concerns others. */
const portsSchema = z.object({ ports: z.record(z.string(), z.number()) });

/** The ports of all homes but this one. */
export function portsOfOthers(home: string): Set<number> {
  const others = readHomes().filter((one) => one !== home);
  return new Set(others.flatMap((one) => portsOf(one) ?? []));
}

/** Another home to which this port belongs, by its stack.json; null when there is none. */
export function homeOfPort(port: number, home: string): string | null {
  return readHomes().find((one) => one !== home && portsOf(one)?.includes(port) === true) ?? null;
}

/** Whether this home is among those that are known. */
export function isNoted(home: string): boolean {
  return readHomes().includes(home);
}

/**
 * Notes a home whose stack.json is written, and forgets those that are gone. Not for two at once: the caller holds a lock.
 * Where the list cannot be written, a stack still finds at its start whether its ports are taken.
 */
export function noteHome(home: string): void {
  const others = readHomes().filter((one) => one !== home && portsOf(one) !== null);
  try {
    writeWhole(homesFile(), `${JSON.stringify([...others, home])}\n`, { replace: true });
  } catch {
    // The list of somebody else, in a folder where each replaces what is his; or a disk that is full.
  }
}

function readHomes(): string[] {
  return homesSchema.safeParse(readJson(homesFile())).data ?? [];
}

/** Null where no stack is described. */
function portsOf(home: string): number[] | null {
  const stack = portsSchema.safeParse(readJson(path.join(home, 'stack.json'))).data;
  return stack === undefined ? null : Object.values(stack.ports);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
