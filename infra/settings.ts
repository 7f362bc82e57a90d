/** What a stack is made of before it runs: its ports, its bucket and its secrets, made once and then kept in its home. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type Environment } from '../config/environment.ts';
import { homesFile, isNoted, noteHome, portsOfOthers } from './homes.ts';
import { defaultHome, type Layout, layoutOf, python } from './layout.ts';
import { withLock } from './lock.ts';
import { findFreeBase, isPortFree } from './ports.ts';
import { isSupervisorRunning } from './supervisor.ts';
import { writeWhole } from './whole-file.ts';

const port = z.number().int().min(1).max(65535);

const portsSchema = z.strictObject({
  temporal: port,
  temporalUi: port,
  s3: port,
  serving: port,
  temporalHttp: port,
  temporalMetrics: port,
  s3Grpc: port,
  s3Master: port,
  s3MasterGrpc: port,
  s3Volume: port,
  s3VolumeGrpc: port,
  s3Filer: port,
  s3FilerGrpc: port,
  s3Admin: port,
  s3AdminGrpc: port,
});
export type Ports = z.infer<typeof portsSchema>;
const portNames = Object.keys(portsSchema.shape) as (keyof Ports)[];

const stackFileSchema = z.strictObject({
  schemaVersion: z.literal(1),
  bucket: z.string().min(3),
  portBase: port.nullable().describe('null: the usual ports'),
  ports: portsSchema,
});

const secretsSchema = z.strictObject({
  schemaVersion: z.literal(1),
  s3AccessKeyId: z.string(),
  s3SecretAccessKey: z.string(),
  apiKey: z.string(),
});

/** A local stack: where it is, where it listens, what opens it. */
export interface Stack {
  layout: Layout;
  bucket: string;
  portBase: number | null;
  ports: Ports;
  secrets: z.infer<typeof secretsSchema>;
}

export interface StackOptions {
  /** Bucket of this stack; kept once it is named. */
  bucket?: string;
  /** First of a row of ports; `TEMPER_PORT_BASE` says the same. */
  portBase?: number;
}

/** The ports that people know, for the machine's own stack; what only SeaweedFS itself uses lies apart. */
const usualPorts = { temporal: 7233, temporalUi: 8233, s3: 8333, serving: 8080 } as const;
const usualInnerBase = 18_330;
const innerNames = portNames.filter((name) => !(name in usualPorts));

/** SeaweedFS's own worker looks for the admin server's gRPC so far above its HTTP port, wherever that is. */
const adminGrpcOffset = 10_000;

/** The named ports in a row from a base on; one of the two of the admin server has to lie apart. */
function portsFrom<Name extends keyof Ports>(
  names: readonly Name[],
  base: number,
): Record<Name, number> {
  const ports: Partial<Ports> = Object.fromEntries(
    names.map((name, index) => [name, base + index]),
  );
  const below = ports.s3AdminGrpc! - adminGrpcOffset;
  if (below >= 1024) ports.s3Admin = below;
  else ports.s3AdminGrpc = ports.s3Admin! + adminGrpcOffset;
  return ports as Record<Name, number>;
}

/** A base from which a whole stack finds its ports free, and of no other home than the one named. */
export function findPortBase(home = ''): Promise<number> {
  return findBase(portNames, home);
}

function findBase(names: readonly (keyof Ports)[], home: string): Promise<number> {
  const others = portsOfOthers(home);
  return findFreeBase(
    (base) => Object.values(portsFrom(names, base)),
    (port) => others.has(port),
  );
}

/** Homes that choose at the same moment would choose the same. */
function choosingPorts<T>(work: () => Promise<T>): Promise<T> {
  return withLock(homesFile(), work);
}

/** Reads or makes `stack.json` and `secrets.json`: another home than the machine's own gets free ports. */
export async function resolveStack(home: string, options: StackOptions = {}): Promise<Stack> {
  const layout = layoutOf(home);
  const secrets = resolveSecrets(layout);
  const wantedBase = options.portBase ?? portBaseOf(process.env);
  const look = async () => {
    const kept = readStackFile(layout);
    const bucket = options.bucket ?? kept?.bucket ?? 'temper';
    const mayMove = kept === null || !(await isSupervisorRunning(layout));
    const stays = !mayMove || wantedBase === null || wantedBase === kept?.portBase;
    return { bucket, kept: stays ? kept : null, isAsWanted: stays && bucket === kept?.bucket };
  };
  const found = await look();
  if (found.kept !== null && found.isAsWanted && isNoted(layout.home)) {
    const { portBase, ports } = found.kept;
    return { layout, bucket: found.bucket, portBase, ports, secrets };
  }
  return await choosingPorts(async () => {
    const { bucket, kept, isAsWanted } = await look();
    const { portBase, ports } = kept ?? (await choosePorts(layout, wantedBase));
    if (kept === null || !isAsWanted) writeStackFile(layout, { bucket, portBase, ports });
    noteHome(layout.home);
    return { layout, bucket, portBase, ports, secrets };
  });
}

function writeStackFile(
  layout: Layout,
  { bucket, portBase, ports }: Pick<Stack, 'bucket' | 'portBase' | 'ports'>,
): void {
  const file = { schemaVersion: 1, bucket, portBase, ports };
  writeWhole(layout.stackFile, `${JSON.stringify(file, null, 2)}\n`, { replace: true });
}

/** Moves the ports that nobody outside needs to know when other programs hold them. */
export async function moveInnerPorts(stack: Stack): Promise<Stack> {
  const free = await Promise.all(innerNames.map((name) => isPortFree(stack.ports[name])));
  if (free.every(Boolean)) return stack;
  return await choosingPorts(async () => {
    const base = await findBase(innerNames, stack.layout.home);
    const ports = portsSchema.parse({ ...stack.ports, ...portsFrom(innerNames, base) });
    writeStackFile(stack.layout, { ...stack, ports });
    return { ...stack, ports };
  });
}

/** The environment of every process of a stack, and of a client that works on it. */
export function stackEnvironment(stack: Stack): Record<string, string> {
  const known: Partial<Record<keyof Environment, string>> = {
    TEMPER_HOME: stack.layout.home,
    TEMPER_HOST: 'local',
    TEMPER_PYTHON: python,
    TEMPER_S3_ENDPOINT: `http://127.0.0.1:${stack.ports.s3}`,
    TEMPER_S3_REGION: 'us-east-1',
    TEMPER_S3_BUCKET: stack.bucket,
    AWS_ACCESS_KEY_ID: stack.secrets.s3AccessKeyId,
    AWS_SECRET_ACCESS_KEY: stack.secrets.s3SecretAccessKey,
    TEMPER_DATA_KEY_FILE: stack.layout.dataKeyFile,
    TEMPER_API_KEY_FILE: stack.layout.apiKeyFile,
    TEMPER_SERVING_PORT: String(stack.ports.serving),
  };
  return {
    ...known,
    TEMPORAL_ADDRESS: `127.0.0.1:${stack.ports.temporal}`,
    TEMPORAL_NAMESPACE: 'default',
  };
}

async function choosePorts(
  layout: Layout,
  base: number | null,
): Promise<{ portBase: number | null; ports: Ports }> {
  if (base === null && layout.home === defaultHome) {
    const inner = portsFrom(innerNames, usualInnerBase);
    return { portBase: null, ports: portsSchema.parse({ ...inner, ...usualPorts }) };
  }
  const first = base ?? (await findPortBase(layout.home));
  return { portBase: first, ports: portsSchema.parse(portsFrom(portNames, first)) };
}

function portBaseOf(env: Record<string, string | undefined>): number | null {
  const text = env['TEMPER_PORT_BASE'];
  if (text === undefined || text === '') return null;
  const base = Number(text);
  const highest = 65_535 - portNames.length;
  if (Number.isInteger(base) && base >= 1024 && base <= highest) return base;
  throw new Error(
    `TEMPER_PORT_BASE: found "${text}", expected a whole number from 1024 to ${highest}: the first of ${portNames.length} free ports in a row.`,
  );
}

function readStackFile(layout: Layout): z.infer<typeof stackFileSchema> | null {
  const text = readIfThere(layout.stackFile);
  if (text === null) return null;
  const parsed = stackFileSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const fault = parsed.error.issues[0];
  throw new Error(
    `${layout.stackFile}: ${fault?.path.join('.') || 'content'}: ${fault?.message}. Delete this file: ports are then chosen again and no data is lost.`,
  );
}

function resolveSecrets(layout: Layout): z.infer<typeof secretsSchema> {
  if (readIfThere(layout.secretsFile) === null) {
    const fresh = {
      schemaVersion: 1,
      s3AccessKeyId: randomBytes(10).toString('hex').toUpperCase(),
      s3SecretAccessKey: randomBytes(30).toString('base64url'),
      apiKey: `temper-${randomBytes(24).toString('base64url')}`,
    };
    writeWhole(layout.secretsFile, `${JSON.stringify(fresh, null, 2)}\n`, { replace: false });
  }
  const parsed = secretsSchema.safeParse(parseJson(readFileSync(layout.secretsFile, 'utf8')));
  if (!parsed.success) {
    throw new Error(
      `${layout.secretsFile}: found a file that is not whole, expected keys. Delete it while the stack is down: new keys are made, and the data stay.`,
    );
  }
  if (readIfThere(layout.apiKeyFile) === null) {
    writeWhole(layout.apiKeyFile, `${parsed.data.apiKey}\n`, { replace: false });
  }
  if (readIfThere(layout.dataKeyFile) === null) {
    const line = `${randomBytes(4).toString('hex')}:${randomBytes(32).toString('base64')}`;
    writeWhole(layout.dataKeyFile, `${line}\n`, { replace: false });
  }
  return parsed.data;
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
