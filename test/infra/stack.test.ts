/** The stack as people meet it, with the real Temporal server and SeaweedFS under the real supervisor. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { killVictim, listVictims, type Victim } from '../../infra/kill.ts';
import { findListener, isPortFree } from '../../infra/ports.ts';
import { inspectProcess, isAlive, type ProcessIdentity } from '../../infra/processes.ts';
import {
  findPortBase,
  isCodeCurrent,
  type PartName,
  resolveStack,
  type Stack,
  stackDown,
  stackEnvironment,
  stackStatus,
  stackUp,
} from '../../infra/stack.ts';
import { makeHome } from './home.ts';

const parts: PartName[] = ['s3', 'temporal'];
const { home, remove } = makeHome();
let stack: Stack;

beforeAll(async () => {
  stack = await stackUp(home, { parts });
});
afterAll(remove);

const victim = async (kind: Victim['kind']): Promise<Victim> => {
  const found = (await listVictims(home)).find((candidate) => candidate.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} is running`);
  return found;
};

const isHealthy = async (part: PartName): Promise<boolean> => {
  const url =
    part === 's3'
      ? `http://127.0.0.1:${stack.ports.s3}/healthz`
      : `http://127.0.0.1:${stack.ports.temporalHttp}/api/v1/namespaces/default`;
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
};

const readNamespace = async (): Promise<string> => {
  const url = `http://127.0.0.1:${stack.ports.temporalHttp}/api/v1/namespaces/default`;
  return (await fetch(url)).text();
};

describe('a stack that is up', () => {
  test('listens on 127.0.0.1 only', async () => {
    const pids = (await listVictims(home)).map(({ pid }) => pid);
    expect(pids).toHaveLength(2);
    const own = pids.flatMap(listeningAddresses);
    expect(own.length).toBeGreaterThan(10);
    expect(own.filter((address) => !address.startsWith('0100007F:'))).toEqual([]);
  });

  test('keeps its keys from other users', () => {
    for (const file of [stack.layout.secretsFile, stack.layout.apiKeyFile]) {
      expect(statSync(file).mode & 0o077).toBe(0);
    }
    const config = readFileSync(stack.layout.supervisorConfig, 'utf8');
    expect(config).not.toContain(stack.secrets.s3SecretAccessKey);
  });

  test('keeps finished workflows for 30 days and knows its search attributes', async () => {
    const namespace = await readNamespace();
    expect(namespace).toContain('"workflowExecutionRetentionTtl":"2592000s"');
    const url = `http://127.0.0.1:${stack.ports.temporalUi}/api/v1/namespaces/default/search-attributes`;
    const { customAttributes } = (await (await fetch(url)).json()) as {
      customAttributes: Record<string, string>;
    };
    for (const name of ['run', 'stage', 'model', 'dataset']) {
      expect(customAttributes[name]).toBe('INDEXED_VALUE_TYPE_KEYWORD');
    }
  });

  test('is left as it is by another up', async () => {
    const before = (await stackStatus(home)).map(({ pid }) => pid);
    await stackUp(home, { parts });
    expect((await stackStatus(home)).map(({ pid }) => pid)).toEqual(before);
  });

  test.each(parts)('brings %s back within seconds of SIGKILL', async (part) => {
    const before = await victim(part);
    // A program that lived for a second restarts at once.
    await sleep(1100);
    expect(killVictim(before)).toBe(true);
    await expect.poll(() => isAlive(before)).toBe(false);
    await expect.poll(() => isHealthy(part), { timeout: 8000, interval: 50 }).toBe(true);
    const status = (await stackStatus(home)).find(({ name }) => name === part);
    expect(status).toMatchObject({ restarts: 1, state: expect.stringMatching(/running|starting/) });
    expect(status?.pid).not.toBe(before.pid);
  });

  test('does not kill a process that only has the pid of a victim', async () => {
    const found = await victim('temporal');
    expect(killVictim({ ...found, startTime: found.startTime - 1 })).toBe(false);
    expect(isAlive(found)).toBe(true);
  });

  test('replaces servers whose supervisor was killed, and keeps their data', async () => {
    const env = stackEnvironment(stack);
    const marker = path.join(home, 's3', 'marker');
    writeFileSync(marker, 'kept');
    const orphans = await listVictims(home);
    const daemon = Number(readFileSync(stack.layout.supervisorPid, 'utf8'));
    process.kill(daemon, 'SIGKILL');
    await expect.poll(() => inspectProcess(daemon)).toBeNull();
    expect(orphans.some(isAlive)).toBe(true);
    // With other ports the command lines differ, and the old servers would have kept the data as well.
    stack = await stackUp(home, { parts, portBase: await findPortBase() });
    expect(orphans.filter(isAlive)).toEqual([]);
    expect(await isHealthy('s3')).toBe(true);
    expect(stackEnvironment(stack)).not.toEqual(env);
    expect(readFileSync(marker, 'utf8')).toBe('kept');
    expect(await readNamespace()).toContain('2592000s');
  });

  test('restarts the workers, and no server, when the code is not what they were started with', async () => {
    const told: string[] = [];
    const pids = async () =>
      Object.fromEntries((await stackStatus(home)).map(({ name, pid }) => [name, pid]));
    await stackUp(home, { parts: ['data'] });
    const before = await pids();
    writeFileSync(stack.layout.codeFile, 'what lay here yesterday');
    await stackUp(home, { parts, onProgress: ({ text }) => told.push(text) });
    expect(told).toContain('the code has changed: restarting data');
    const after = await pids();
    expect([after['s3'], after['temporal']]).toEqual([before['s3'], before['temporal']]);
    expect([null, before['data']]).not.toContain(after['data']);
    expect(await isCodeCurrent(stack.layout)).toBe(true);
  });
});

describe('training under the home of a stack', () => {
  test('is found, launcher and ranks, and is told to save before down kills anything', async () => {
    const config = path.join(home, 'runs', 'a', 'run.json');
    const log = path.join(home, 'signals');
    // A stand-in for the launcher and its rank, with their command lines and what they do at SIGTERM.
    const launcher = startAs('trainer.launch', config, log);
    const rank = startAs('trainer.pretrain', config, log);
    const elsewhere = startAs('trainer.pretrain', '/elsewhere/run.json', log);
    const nested = startAs('trainer.sft', path.join(home, 'chaos/7/runs/a/run.json'), log);
    await expect.poll(() => readLines(log)).toHaveLength(4);
    expect((await victim('torchrun')).pid).toBe(launcher.pid);
    expect((await victim('rank')).pid).toBe(rank.pid);
    const { stopped } = await stackDown(home);
    expect(stopped).toEqual(expect.arrayContaining(['s3', 'temporal', 'training']));
    expect(readLines(log).slice(4)).toEqual(['trainer.pretrain saved', 'trainer.launch saved']);
    const all = [launcher, rank, elsewhere, nested];
    expect(all.map(isAlive)).toEqual([false, false, true, true]);
    for (const { pid } of [elsewhere, nested]) process.kill(pid, 'SIGKILL');
  });
});

describe('a stack that is down', () => {
  test('leaves no port taken and no process behind', async () => {
    await stackDown(home);
    for (const port of Object.values(stack.ports)) expect(await isPortFree(port)).toBe(true);
    expect(await listVictims(home)).toEqual([]);
    expect((await stackStatus(home)).map(({ state }) => state)).toEqual(
      Array<string>(6).fill('stopped'),
    );
    expect((await stackDown(home)).stopped).toEqual([]);
  });

  test('does not start where other programs listen, and says which, all at once', async () => {
    const { ports } = await resolveStack(home);
    const taken = [ports.s3, ports.temporalUi];
    const others = taken.map((port) => net.createServer().listen(port, '127.0.0.1'));
    try {
      for (const port of taken) {
        await expect.poll(() => findListener(port)?.pid).toBe(process.pid);
      }
      const each = taken.map((port) => `port ${port}, .*taken by .*pid ${process.pid}.*`).join('');
      await expect(stackUp(home, { parts })).rejects.toThrow(
        new RegExp(`${each}those programs.*TEMPER_PORT_BASE`),
      );
    } finally {
      for (const other of others) other.close();
    }
  });

  test('moves the ports that only its servers use when others hold them', async () => {
    const { ports } = await resolveStack(home);
    const other = net.createServer().listen(ports.s3Filer, '127.0.0.1');
    try {
      const moved = await stackUp(home, { parts: ['s3'] });
      expect(moved.ports.s3).toBe(ports.s3);
      expect(moved.ports.s3Filer).not.toBe(ports.s3Filer);
      expect((await resolveStack(home)).ports).toEqual(moved.ports);
    } finally {
      other.close();
    }
  });
});

function startAs(module: string, config: string, log: string): ProcessIdentity {
  const program = `
    import os, signal, sys, time
    def note(word): os.write(os.open(sys.argv[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), f'{sys.argv[2]} {word}\\n'.encode())
    def save(*_): time.sleep(0.2); note('saved'); sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    note('started')
    while True: time.sleep(1)`;
  const text = program.replaceAll('\n    ', '\n');
  const argv = ['-c', text, '-m', module, '--config', config, log];
  const child = spawn('python3', argv, { detached: true, stdio: 'ignore' });
  return inspectProcess(child.pid!)!;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').trim().split('\n');
  } catch {
    return [];
  }
}

/** Local addresses, as in /proc/net/tcp, on which a process listens. */
function listeningAddresses(pid: number): string[] {
  const own = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    }),
  );
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .map((row) => row.trim().split(/\s+/))
      .filter((cells) => cells[3] === '0A' && own.has(`socket:[${cells[9]}]`))
      .map((cells) => cells[1]!),
  );
}
