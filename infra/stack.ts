/** The local stack: the real parts on one machine, kept alive in the background, started and stopped by one call. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestCode } from './code.ts';
import { requireDisk } from './disk.ts';
import { type Layout, layoutOf, node, projectDir, python, venvBin } from './layout.ts';
import { homeOfPort } from './homes.ts';
import { withLock } from './lock.ts';
import { findListener, isPortFree } from './ports.ts';
import { inspectProcess, stopProcesses, waitUntilGone } from './processes.ts';
import { type PartName, partNames, type Program, programsOf } from './programs.ts';
import {
  moveInnerPorts,
  resolveStack,
  type Stack,
  stackEnvironment,
  type StackOptions,
} from './settings.ts';
import { removeStaleSockets } from './sockets.ts';
import {
  countStarts,
  isConfigurationCurrent,
  isSupervisorRunning,
  listSupervised,
  logFileOf,
  readTail,
  shutdownSupervisor,
  startSupervised,
  startSupervisor,
  stopSupervised,
  supervisorPid,
} from './supervisor.ts';
import { findMarked, findTrainers, findUnsupervised, stackMark } from './trainers.ts';

export { defaultHome, homeFolder } from './layout.ts';
export type { PartName } from './programs.ts';
export { findPortBase, resolveStack, type Stack, stackEnvironment } from './settings.ts';

/** What `stackUp` tells while it works, for a line on the screen. */
export interface StackProgress {
  part: PartName | 'stack';
  text: string;
}

export interface UpOptions extends StackOptions {
  /** Which parts to start; left out starts all. */
  parts?: readonly PartName[];
  onProgress?: (progress: StackProgress) => void;
  /** For each part to become ready. */
  limitMs?: number;
}

/** The parts that run the project's own code. */
const ownParts: readonly PartName[] = ['control', 'data', 'gpu', 'serving'];

/** Starts what does not run yet and waits until all of it is ready; safe to call again at any time. */
export async function stackUp(home: string, options: UpOptions = {}): Promise<Stack> {
  const tell = options.onProgress ?? (() => {});
  const layout = layoutOf(home);
  return withLock(layout.home, () => up(layout, options, tell), {
    onWait: () =>
      tell({ part: 'stack', text: 'another command is changing the stack; waiting for it' }),
  });
}

async function up(
  layout: Layout,
  options: UpOptions,
  tell: (progress: StackProgress) => void,
): Promise<Stack> {
  requireSetup();
  let stack = await resolveStack(layout.home, options);
  let programs = programsOf(stack);
  const wanted = programs.filter(({ name }) => (options.parts ?? partNames).includes(name));
  const wantedNames = wanted.map(({ name }) => name);
  if ((await isSupervisorRunning(layout)) && !isConfigurationCurrent(layout, programs)) {
    tell({ part: 'stack', text: 'settings changed: restarting' });
    await stopSupervisor(layout);
  }
  const isRunning = await isSupervisorRunning(layout);
  // Its ports and keys may have been others then: two servers on the same data would destroy it.
  const orphans = findUnsupervised(layout, isRunning ? await supervisorPid(layout) : null);
  if (orphans.length > 0) {
    const what = orphans.length === 1 ? 'a process' : `${orphans.length} processes`;
    tell({ part: 'stack', text: `stopping ${what} that had lost their supervisor` });
    await stopProcesses(orphans, 15_000);
  }
  const code = digestCode(projectDir);
  const outdated = (await isCodeCurrent(layout, code)) ? [] : await runningOwnParts(layout);
  if (outdated.length > 0) {
    tell({ part: 'stack', text: `the code has changed: restarting ${outdated.join(', ')}` });
    await stopSupervised(layout, outdated);
  }
  if (!isRunning) {
    await requireDisk(layout.home);
    await requirePorts(stack, wanted);
    await removeStaleSockets(stack.ports);
    stack = await moveInnerPorts(stack);
    programs = programsOf(stack);
    await startSupervisor(layout, programs, childEnvironment(stack));
  }
  if ((await runningOwnParts(layout)).length === 0) writeFileSync(layout.codeFile, code);
  const base = programs.filter(({ name }) => !ownParts.includes(name));
  const rest = programs.filter(({ name }) => ownParts.includes(name));
  for (const group of [base, rest]) {
    const started = group.filter(({ name }) => [...wantedNames, ...outdated].includes(name));
    await Promise.all(
      started.map((program) => startPart(layout, program, options.limitMs ?? 90_000, tell)),
    );
    if (started.some(({ name }) => name === 'temporal')) await keepHistories(stack);
  }
  return stack;
}

/** Stops everything of this home, trainers too, and leaves the data; resolves with what was stopped. */
export async function stackDown(
  home: string,
  { onProgress }: Pick<UpOptions, 'onProgress'> = {},
): Promise<{ stopped: string[] }> {
  const tell = onProgress ?? (() => {});
  const layout = layoutOf(home);
  return withLock(layout.home, async () => {
    const stopped = (await listSupervised(layout))
      .filter((info) => info.pid !== 0)
      .map((info) => info.name);
    if (stopped.length > 0) tell({ part: 'stack', text: `stopping ${stopped.join(', ')}` });
    await stopSupervised(layout, ownParts);
    const { launchers, ranks } = findTrainers(layout);
    if (ranks.length > 0) {
      tell({ part: 'stack', text: 'stopping training: it saves first' });
      stopped.push('training');
    }
    // The ranks alone get the signal: a launcher that ends first would take them away in the middle of a save.
    await stopProcesses(ranks, 30_000);
    await stopProcesses(launchers, 5000);
    await stopSupervised(layout, ['s3', 'temporal']);
    await stopSupervisor(layout);
    const left = await stopProcesses(findMarked(layout), 15_000);
    if (left > 0) stopped.push(`${left} processes that had lost their supervisor`);
    if (stopped.length > 0) await removeStaleSockets((await resolveStack(home)).ports);
    return { stopped };
  });
}

export interface PartStatus {
  name: PartName;
  title: string;
  state: 'running' | 'starting' | 'restarting' | 'stopping' | 'stopped';
  pid: number | null;
  uptimeMs: number | null;
  ports: number[];
  /** Starts after the first, since the stack came up. */
  restarts: number;
  log: string;
}

/** What each part does now. */
export async function stackStatus(home: string): Promise<PartStatus[]> {
  const layout = layoutOf(home);
  const stack = await resolveStack(home);
  const infos = new Map((await listSupervised(layout)).map((info) => [info.name, info]));
  const starts = infos.size === 0 ? new Map<string, number>() : countStarts(layout);
  return programsOf(stack).map(({ name, title, ports }) => {
    const info = infos.get(name);
    const running = info !== undefined && info.pid !== 0;
    return {
      name,
      title,
      state: info === undefined ? 'stopped' : stateNames[info.statename],
      pid: running ? info.pid : null,
      uptimeMs: running ? Math.max(0, info.now - info.start) * 1000 : null,
      ports: ports.map((port) => stack.ports[port]),
      restarts: Math.max(0, (starts.get(name) ?? 0) - 1),
      log: logFileOf(layout, name),
    };
  });
}

const stateNames = {
  STOPPED: 'stopped',
  STARTING: 'starting',
  RUNNING: 'running',
  BACKOFF: 'restarting',
  STOPPING: 'stopping',
  EXITED: 'restarting',
  FATAL: 'stopped',
  UNKNOWN: 'stopped',
} as const;

/** Starts one part and waits for it; gives up early when it keeps dying. */
async function startPart(
  layout: Layout,
  program: Program,
  limitMs: number,
  tell: (progress: StackProgress) => void,
): Promise<void> {
  const startsBefore = countStarts(layout).get(program.name) ?? 0;
  await startSupervised(layout, program.name);
  const began = Date.now();
  let found: string | null = 'nothing yet';
  let told = false;
  while (Date.now() - began < limitMs) {
    const info = (await listSupervised(layout)).find(({ name }) => name === program.name);
    const alive = info !== undefined && info.pid !== 0;
    found = alive ? await program.check(new Date(info.start * 1000)) : 'it is not running';
    const waitedMs = Date.now() - began;
    if (found === null) {
      tell({
        part: program.name,
        text: `${program.title} ready after ${(waitedMs / 1000).toFixed(1)} s`,
      });
      return;
    }
    if (!told) tell({ part: program.name, text: `starting ${program.title}` });
    told = true;
    if ((countStarts(layout).get(program.name) ?? 0) - startsBefore > 5) {
      found = 'it ended as often as it was started';
      break;
    }
    await sleep(150);
  }
  const log = logFileOf(layout, program.name);
  const tail = readTail(log, 2000).trim().split('\n').slice(-5).join('\n  ');
  throw new Error(
    `${program.title} did not become ready within ${Math.round((Date.now() - began) / 1000)} s: ${found}. The end of its log, ${log}:\n  ${tail || '(empty)'}\nCure what it names, then \`npx temper up\` again; \`npx temper doctor\` checks the machine.`,
  );
}

async function stopSupervisor(layout: Layout): Promise<void> {
  if (await isSupervisorRunning(layout)) {
    const daemon = inspectProcess(await supervisorPid(layout));
    await shutdownSupervisor(layout);
    if (daemon !== null) {
      const left = await waitUntilGone([daemon], 60_000);
      await stopProcesses(left, 1000);
    }
  }
  rmSync(layout.supervisorPid, { force: true });
}

function requireSetup(): void {
  const missing = [node, python, venvBin('supervisord'), venvBin('weed'), venvBin('temporal')];
  const first = missing.find((file) => !existsSync(file));
  if (first === undefined) return;
  throw new Error(
    `${path.relative(projectDir, first)} is missing, expected it after set-up. Run \`bash bin/setup\` in ${projectDir}.`,
  );
}

/** Whether the workers that run were started with the code that lies in the project now. */
export async function isCodeCurrent(
  layout: Layout,
  code = digestCode(projectDir),
): Promise<boolean> {
  try {
    return readFileSync(layout.codeFile, 'utf8') === code;
  } catch {
    return (await runningOwnParts(layout)).length === 0;
  }
}

async function runningOwnParts(layout: Layout): Promise<PartName[]> {
  const running = (await listSupervised(layout)).filter((info) => info.pid !== 0);
  return ownParts.filter((name) => running.some((info) => info.name === name));
}

/** Refuses to start where somebody else listens, and says who, of all such ports at once. */
async function requirePorts(stack: Stack, wanted: Program[]): Promise<void> {
  await waitForDyingListeners(Object.values(stack.ports));
  const taken: string[] = [];
  for (const program of wanted) {
    for (const port of program.ports.map((name) => stack.ports[name])) {
      if (await isPortFree(port)) continue;
      const holder = findListener(port);
      const by = holder === null ? 'another program' : `${holder.program} (pid ${holder.pid})`;
      const other = homeOfPort(port, stack.layout.home);
      const whose = other === null ? '' : `, which the stack in ${other} uses as well`;
      taken.push(`port ${port}, for ${program.title}, is taken by ${by}${whose}`);
    }
  }
  if (taken.length === 0) return;
  const stop = taken.length === 1 ? 'Stop that program' : 'Stop those programs';
  throw new Error(
    `${taken.join('; ')}. ${stop}, or choose other ports: TEMPER_PORT_BASE=17000 npx temper up.`,
  );
}

/** A killed server is no process any more while the kernel still closes its sockets: its ports have no owner. */
async function waitForDyingListeners(ports: number[]): Promise<void> {
  const deadline = Date.now() + 5000;
  for (const port of ports) {
    while (Date.now() < deadline && !(await isPortFree(port)) && findListener(port) === null) {
      await sleep(50);
    }
  }
}

/** A small, known environment: nobody's AWS profile, proxy or Node options reach the stack. */
function childEnvironment(stack: Stack): Record<string, string> {
  const kept = ['HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'CUDA_VISIBLE_DEVICES'];
  const passed = Object.entries(process.env).filter(
    ([name, value]) =>
      value !== undefined && (kept.includes(name) || /^TEMPER_(LOG|TEST|DEBUG)_/.test(name)),
  );
  return {
    ...(Object.fromEntries(passed) as Record<string, string>),
    PATH: [path.dirname(node), path.dirname(python), '/usr/local/bin:/usr/bin:/bin'].join(':'),
    NODE_COMPILE_CACHE: path.join(stack.layout.home, 'cache', 'node'),
    TEMPORAL_VERSION_CHECK_DISABLED: '1',
    [stackMark]: stack.layout.home,
    ...stackEnvironment(stack),
  };
}

/** The development server forgets finished workflows after a day; people look at them for longer. */
async function keepHistories({ ports }: Stack): Promise<void> {
  const days = 30;
  const url = `http://127.0.0.1:${ports.temporalHttp}/api/v1/namespaces/default/update`;
  await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ config: { workflowExecutionRetentionTtl: `${days * 86_400}s` } }),
    signal: AbortSignal.timeout(5000),
  });
}
