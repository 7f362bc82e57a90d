/** Ports, secrets and the small helpers under them: pure, or on files alone. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { parseEnvironment } from '../../config/environment.ts';
import { digestCode } from '../../infra/code.ts';
import { leastFreeBytes, requireDisk } from '../../infra/disk.ts';
import { homeOfPort, homesFile, isNoted, portsOfOthers } from '../../infra/homes.ts';
import { withLock } from '../../infra/lock.ts';
import { instructionSetOf } from '../../config/instruction-set.ts';
import { removeStaleSockets, socketsOf } from '../../infra/sockets.ts';
import { findPortBase, resolveStack, stackEnvironment } from '../../infra/stack.ts';
import { decode, RpcFault } from '../../infra/xml-rpc.ts';
import { parseDataKeys } from '../../registry/data-keys.ts';
import { makeHome } from './home.ts';

const { home, remove } = makeHome();
const other = makeHome();
afterAll(() => Promise.all([remove(), other.remove()]));

test('a home keeps its ports, bucket and keys once they are chosen', async () => {
  const first = await resolveStack(home, { bucket: 'chaos' });
  const second = await resolveStack(home);
  expect(second).toEqual(first);
  expect(new Set(Object.values(first.ports)).size).toBe(15);
  expect(readFileSync(first.layout.apiKeyFile, 'utf8').trim()).toBe(first.secrets.apiKey);
  const { dataKeyFile } = first.layout;
  expect(statSync(dataKeyFile).mode & 0o777).toBe(0o600);
  const line = readFileSync(dataKeyFile, 'utf8');
  expect(parseDataKeys(line, 'the file').sealing).toMatch(/^[0-9a-f]{8}$/);
  expect(stackEnvironment(first)).toMatchObject({ TEMPER_DATA_KEY_FILE: dataKeyFile });
  // It is in no environment, and so in no listing of processes.
  expect(JSON.stringify(stackEnvironment(first))).not.toContain(line.trim().split(':')[1]);
  await resolveStack(home);
  expect(readFileSync(dataKeyFile, 'utf8')).toBe(line);
});

test('two homes never share a port or a key', async () => {
  const other = makeHome();
  try {
    const [a, b] = [await resolveStack(home), await resolveStack(other.home)];
    const shared = Object.values(a.ports).filter((port) => Object.values(b.ports).includes(port));
    expect(shared).toEqual([]);
    expect(a.secrets.apiKey).not.toBe(b.secrets.apiKey);
  } finally {
    await other.remove();
  }
});

test('homes that choose at the same moment, and from the same random number, never share a port', async () => {
  const random = vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const homes = [makeHome(), makeHome(), makeHome()];
  try {
    const stacks = await Promise.all(homes.map((one) => resolveStack(one.home)));
    const ports = stacks.flatMap((stack) => Object.values(stack.ports));
    expect(new Set(ports).size).toBe(3 * 15);
    // Nor does one that somebody else asks for.
    const base = await findPortBase();
    expect(ports).not.toContain(base);
  } finally {
    random.mockRestore();
    await Promise.all(homes.map((one) => one.remove()));
  }
});

test('the ports of a home that is gone are free again, and the list of homes is whole after its loss', async () => {
  const gone = makeHome();
  const { ports, layout } = await resolveStack(gone.home);
  expect(portsOfOthers(home).has(ports.s3)).toBe(true);
  expect(portsOfOthers(layout.home).has(ports.s3)).toBe(false);
  expect(homeOfPort(ports.s3, home)).toBe(layout.home);
  expect(homeOfPort(ports.s3, layout.home)).toBeNull();
  await gone.remove();
  expect(portsOfOthers(home).has(ports.s3)).toBe(false);
  // As after a reboot that emptied the temporary folder.
  vi.stubEnv('TMPDIR', other.home);
  try {
    expect(homesFile()).toContain(other.home);
    const found = await resolveStack(home);
    expect(isNoted(found.layout.home)).toBe(true);
  } finally {
    vi.unstubAllEnvs();
  }
});

test('a named base decides every port, and moves a stack that is down', async () => {
  const { ports } = await resolveStack(home, { portBase: 31_100 });
  const { s3Admin: _, ...row } = ports;
  expect(Math.min(...Object.values(row))).toBe(31_100);
  expect(Math.max(...Object.values(row))).toBe(31_114);
  expect((await resolveStack(home)).ports).toEqual(ports);
});

test.each([1024, 11_000, 25_000, 65_000])(
  'from base %i on, SeaweedFS finds its admin server where it looks for it, and no port is given twice',
  async (portBase) => {
    const { ports } = await resolveStack(home, { portBase });
    expect(ports.s3AdminGrpc - ports.s3Admin).toBe(10_000);
    expect(new Set(Object.values(ports)).size).toBe(15);
  },
);

test('too little room is refused with what there is, what is needed and what to do', async () => {
  await requireDisk(home, Promise.resolve(leastFreeBytes));
  await expect(requireDisk(home, Promise.resolve(4.2e9))).rejects.toThrow(
    /found 4\.2 GB free, expected at least 5\.0 GB\. Free some, or set TEMPER_HOME/,
  );
});

test('the digest of the code changes with a worker or a lockfile, and not with a document', () => {
  const { home: project } = other;
  const write = (file: string, text: string) => {
    mkdirSync(path.dirname(path.join(project, file)), { recursive: true });
    writeFileSync(path.join(project, file), text);
  };
  write('workers/a.ts', 'one');
  write('package-lock.json', 'one');
  const digests = [digestCode(project)];
  write('docs/a.md', 'one');
  expect(digestCode(project)).toBe(digests[0]);
  for (const file of ['workers/a.ts', 'package-lock.json', 'trainer/a.py']) {
    write(file, 'two');
    digests.push(digestCode(project));
  }
  expect(new Set(digests).size).toBe(4);
});

test('the environment of a stack is one that every process accepts', async () => {
  const stack = await resolveStack(home);
  const environment = parseEnvironment(stackEnvironment(stack));
  expect(environment.TEMPER_HOME).toBe(stack.layout.home);
  expect(environment.TEMPER_S3_ENDPOINT).toBe(`http://127.0.0.1:${stack.ports.s3}`);
});

test('sockets that SeaweedFS left are taken away, and those of a port that is taken are not', async () => {
  const { ports } = await resolveStack(home, { portBase: 31_200 });
  const [taken, ...stale] = socketsOf(ports);
  const server = net.createServer().listen(taken!.port, '127.0.0.1');
  await once(server, 'listening');
  for (const { file } of [taken!, ...stale]) writeFileSync(file, '');
  await removeStaleSockets(ports);
  server.close();
  expect(socketsOf(ports).filter(({ file }) => existsSync(file))).toEqual([taken]);
  await once(server, 'close');
  await removeStaleSockets(ports);
  expect(existsSync(taken!.file)).toBe(false);
});

test('a damaged stack.json is refused with the cure', async () => {
  const other = makeHome();
  try {
    const { layout } = await resolveStack(other.home);
    writeFileSync(layout.stackFile, '{"schemaVersion": 1, "bucket": "x');
    await expect(resolveStack(other.home)).rejects.toThrow(/stack\.json.*Delete this file/);
    const stack = { schemaVersion: 1, bucket: 'temper', portBase: null, ports: {} };
    writeFileSync(layout.stackFile, JSON.stringify(stack));
    await expect(resolveStack(other.home)).rejects.toThrow(/stack\.json: ports\.temporal/);
    writeFileSync(layout.stackFile, JSON.stringify({}));
  } finally {
    await other.remove().catch(() => {});
  }
});

test('a lock lets one in at a time, and the next when it is done', async () => {
  const order: string[] = [];
  const enter = (name: string) =>
    withLock(`test-lock:${home}`, async () => {
      order.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      order.push(`${name} out`);
    });
  await Promise.all([enter('a'), enter('b')]);
  expect(order).toEqual(
    order[0] === 'a in' ? ['a in', 'a out', 'b in', 'b out'] : ['b in', 'b out', 'a in', 'a out'],
  );
});

test('the widest instruction set that PyTorch would use is named', () => {
  const of = (flags: string, arch = 'x64') => instructionSetOf(new Set(flags.split(' ')), arch);
  expect(of('sse2 avx2 avx512f avx512bw amx_tile amx_bf16')).toBe('amx');
  expect(of('sse2 avx2 avx512f avx512bw')).toBe('avx512');
  expect(of('sse2 avx2 avx512f avx512bw avx512_bf16')).toBe('avx512_bf16');
  expect(of('sse2 avx2 avx512f')).toBe('avx2');
  expect(of('sse2')).toBe('other');
  expect(of('', 'arm64')).toBe('neon');
});

test('XML-RPC values are read as what they are, and faults thrown', () => {
  const member = (name: string, value: string) =>
    `<member>\n<name>${name}</name>\n<value>${value}</value>\n</member>`;
  const struct = `<struct>\n${member('name', '<string>a &lt; b</string>')}${member('pid', '<int>7</int>')}${member('up', '<boolean>1</boolean>')}${member('none', '<string></string>')}</struct>`;
  const wrap = (value: string) =>
    `<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>${value}</value>\n</param>\n</params>\n</methodResponse>\n`;
  expect(decode(wrap(`<array><data>\n<value>${struct}</value>\n</data></array>`))).toEqual([
    { name: 'a < b', pid: 7, up: true, none: '' },
  ]);
  const fault = `<methodResponse><fault><value><struct>${member('faultCode', '<int>60</int>')}</struct></value></fault></methodResponse>`;
  expect(() => decode(fault)).toThrow(RpcFault);
});
