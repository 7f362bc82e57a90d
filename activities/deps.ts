/** What activities need from outside: clients, folders and clocks come in, so that tests can give their own. */
import { asyncLocalStorage } from '@temporalio/activity';
import path from 'node:path';
import type { Environment } from '../config/environment.ts';
import type { InstructionSet } from '../config/instruction-set.ts';
import type { Gpu } from '../config/recipe.ts';
import { readDataKeys, type DataKeys } from '../registry/data-keys.ts';
import { withRecent } from '../registry/recent.ts';
import { openStore, type Store } from '../registry/store.ts';
import type { Leaving } from './leaving.ts';
import type { WebOptions } from './web-fetch.ts';

export interface Deps {
  store: Store;
  /** Caches and run directories of this host: `TEMPER_HOME`. */
  home: string;
  /** Python interpreter with the trainer's packages. */
  python: string;
  /** Folder that holds `trainer/` and `node_modules/`. */
  projectDir: string;
  /** Name of this host, stable over restarts. */
  host: string;
  /** Of this host on the network of the runs; left out: it trains alone. */
  gangAddress?: string;
  now: () => Date;
  /** Whether this host was told to leave; left out: it stays. */
  leaving?: Leaving;
  /** Looks for the GPUs of this host; left out, NVIDIA's driver is asked. */
  findGpus?: () => Promise<Gpu | null>;
  /** Looks what its processor can do; left out, the kernel is asked. */
  findInstructionSet?: () => Promise<InstructionSet>;
  /** Another bucket of the same store, for sources; left out, there are none in S3. */
  openBucket?: (bucket: string) => Store;
  /** For tests against a web of their own. */
  web?: Pick<WebOptions, 'resolve' | 'allowAddress' | 'allowHttp'> & { delayMs?: number };
}

/** The dependencies that a process's environment names. */
export function openDeps(env: Environment): Deps {
  const openBucket = (bucket: string, dataKeys?: DataKeys): Store =>
    openStore({
      dataKeys,
      endpoint: env.TEMPER_S3_ENDPOINT,
      region: env.TEMPER_S3_REGION,
      bucket,
      accessKeyId: env.AWS_ACCESS_KEY_ID,
      secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
    });
  return {
    store: openBucket(env.TEMPER_S3_BUCKET, readDataKeys(env)),
    openBucket: (bucket) => openBucket(bucket),
    home: path.resolve(env.TEMPER_HOME),
    python: env.TEMPER_PYTHON,
    projectDir: path.dirname(import.meta.dirname),
    host: env.TEMPER_HOST,
    ...(env.TEMPER_GANG_ADDRESS !== undefined && { gangAddress: env.TEMPER_GANG_ADDRESS }),
    now: () => new Date(),
  };
}

/** The same for steps that read what the step before wrote: their store remembers it for a moment. */
export function rememberingDeps<Some extends Deps>(deps: Some): Some {
  const scope = (): string | undefined =>
    asyncLocalStorage.getStore()?.info.workflowExecution?.runId;
  return { ...deps, store: withRecent(deps.store, { scope }) };
}
