/**
 * A serving node: follows the declared deployments, and reports what it sees. What it serves changes
 * only when a new bundle has answered its probe; whatever else fails, it goes on with what it has.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hono } from 'hono';
import type { Logger } from 'pino';
import type { Deployment, NodeReport } from '../config/manifests.ts';
import {
  listDeployments,
  readDeployment,
  reportEveryMs,
  reportNode,
} from '../registry/deployments.ts';
import { ArtifactMismatch } from '../registry/errors.ts';
import { getModel } from '../registry/models.ts';
import { nameOf } from '../registry/requests.ts';
import type { Store } from '../registry/store.ts';
import { createApp } from './app.ts';
import { openBundleCache } from './bundles.ts';
import type { Endpoint, EndpointLimits } from './endpoint.ts';
import { createEndpoint, defaultLimits } from './endpoint.ts';
import { UnservableError } from './errors.ts';
import type { KeyRing } from './keys.ts';
import { openLastGood } from './last-good.ts';
import { listen } from './listen.ts';

export interface ServingNodeOptions {
  store: Store;
  /** Folder of this host; bundles lie under `serving/` in it. */
  home: string;
  /** Name of this node, stable over restarts. */
  node: string;
  keys: KeyRing;
  log: Logger;
  now: () => Date;
  port: number;
  /** Serve this endpoint only; null serves every declared one. */
  only?: string | null;
  pollMs?: number;
  limits?: EndpointLimits;
}

export interface ServingNode {
  url: string;
  app: Hono;
  endpoints(): readonly Endpoint[];
  /** Ends the answers in progress, then the engines. */
  close(): Promise<void>;
}

const closeMs = 30_000;
const retryMs = [1000, 5000, 15_000, 60_000];
/** A bundle that was refused stays so, unless this machine was at fault (out of memory, say). */
const unservableRetryMs = 300_000;

/** A store that is coming back may hold a request for longer than it takes to ask again. */
const storeMs = 5000;

/** Stops waiting after `storeMs`. */
async function soon<Value>(what: string, answer: Promise<Value>): Promise<Value> {
  const timer = new AbortController();
  const late = sleep(storeMs, undefined, { signal: timer.signal, ref: false }).then(() => {
    throw new Error(`the registry did not answer ${what} in ${storeMs / 1000} s`);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    timer.abort();
    late.catch(() => {});
    answer.catch(() => {});
  }
}

/** What the node knows of one endpoint. */
interface Following {
  endpoint: Endpoint;
  declared: Deployment | null;
  /** What was served before the restart is being started; nothing may get in its way. */
  resuming: boolean;
  /** The attempt to serve what is declared; a newer declaration ends it. */
  attempt: AbortController | null;
  /** A verdict about the declared bundle; the workflow takes the bundle back for it. */
  failure: NodeReport['failure'];
  /** Whatever else went wrong, which the next try may mend. */
  trying: NodeReport['trying'];
  tries: number;
  retryAt: number;
  reporting: boolean;
  reportedAt: number;
}

/** Starts the node: what it served last is served from its own disk at once. */
export async function startServingNode(options: ServingNodeOptions): Promise<ServingNode> {
  const { store, home, node, keys, log, now, only = null, pollMs = 500 } = options;
  const root = path.join(home, 'serving');
  const cache = await openBundleCache(root);
  const lastGood = await openLastGood(path.join(root, 'last-good.json'));
  const followed = new Map<string, Following>();
  const stopping = new AbortController();

  function follow(name: string): Following {
    let following = followed.get(name);
    if (following === undefined) {
      following = {
        endpoint: createEndpoint(name, log, options.limits ?? defaultLimits),
        declared: null,
        resuming: false,
        attempt: null,
        failure: null,
        trying: null,
        tries: 0,
        retryAt: 0,
        reporting: false,
        reportedAt: -Infinity,
      };
      followed.set(name, following);
    }
    return following;
  }

  async function activate(
    { endpoint }: Following,
    deployment: Deployment,
    folder: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { model, version, bundle, generation } = deployment;
    const startedAt = performance.now();
    const probe = await endpoint.activate({ model, version, bundle, generation, folder }, signal);
    const ms = Math.round(performance.now() - startedAt);
    log.info({ endpoint: endpoint.name, model, version, bundle, generation, ms, probe }, 'serving');
  }

  /** Serves what was served before this process started, as far as it is whole on disk. */
  async function resume(deployment: Deployment): Promise<void> {
    const following = follow(deployment.endpoint);
    following.resuming = true;
    try {
      const folder = await cache.find(deployment.bundle);
      if (folder !== null) await activate(following, deployment, folder, stopping.signal);
    } catch (error) {
      log.error(
        { endpoint: deployment.endpoint, err: error },
        'the last good bundle did not start',
      );
    } finally {
      following.resuming = false;
    }
  }

  /** Brings an endpoint to what is declared for it; never throws. */
  async function converge(following: Following, deployment: Deployment): Promise<void> {
    const attempt = new AbortController();
    following.attempt = attempt;
    const { model, version, bundle, generation } = deployment;
    try {
      const found = await soon('a model version', getModel(store, model, version));
      if (found?.bundle.digest !== bundle) {
        throw new UnservableError(
          `${model}@${version} has bundle ${found?.bundle.digest ?? 'none (no such version)'}, declared is ${bundle}. Declare the deployment again.`,
        );
      }
      const folder = await cache.fetch(store, bundle, found.bundle.manifest);
      attempt.signal.throwIfAborted();
      await activate(following, deployment, folder, attempt.signal);
      following.failure = null;
      following.trying = null;
      following.tries = 0;
      await remember(deployment);
    } catch (error) {
      if (stopping.signal.aborted || attempt.signal.aborted) return;
      const found = { generation, message: error instanceof Error ? error.message : String(error) };
      const isVerdict = error instanceof UnservableError || error instanceof ArtifactMismatch;
      const about = { endpoint: deployment.endpoint, generation, err: error };
      if (isVerdict) log.error(about, 'bundle cannot be served');
      else log.warn(about, 'bundle is not served yet; trying again');
      following.failure = isVerdict ? found : null;
      following.trying = isVerdict ? null : found;
      const delayMs =
        error instanceof UnservableError
          ? unservableRetryMs
          : retryMs[Math.min(following.tries, retryMs.length - 1)]!;
      following.retryAt = Date.now() + delayMs;
      following.tries += 1;
    } finally {
      if (following.attempt === attempt) following.attempt = null;
    }
    following.reportedAt = -Infinity;
    await report(following);
  }

  /** The bundle is served already, so a full disk here only costs the next restart its head start. */
  async function remember(deployment: Deployment): Promise<void> {
    try {
      await lastGood.set(deployment);
      await cache.prune(new Set(lastGood.all().map((one) => one.bundle)));
    } catch (error) {
      log.error({ endpoint: deployment.endpoint, err: error }, 'the disk of this node fails');
    }
  }

  async function report(following: Following): Promise<void> {
    if (following.declared === null || following.reporting) return;
    if (Date.now() - following.reportedAt < reportEveryMs) return;
    const { endpoint, failure, trying } = following;
    // One at a time, so that an old one cannot come last; the next poll sees to what changed meanwhile.
    following.reporting = true;
    following.reportedAt = Date.now();
    try {
      const writing = reportNode(store, {
        schemaVersion: 1,
        node,
        endpoint: endpoint.name,
        generation: endpoint.served?.generation ?? 0,
        bundle: endpoint.served?.bundle ?? null,
        failure,
        trying,
        url: listener.url,
        at: now().toISOString(),
      });
      await soon('a report', writing);
    } catch (error) {
      following.reportedAt = -Infinity;
      log.warn({ endpoint: endpoint.name, err: error }, 'the report could not be written');
    } finally {
      following.reporting = false;
    }
  }

  function consider(deployment: Deployment): void {
    const following = follow(deployment.endpoint);
    if (following.declared?.generation !== deployment.generation) {
      following.attempt?.abort();
      following.attempt = null;
      following.tries = 0;
      following.retryAt = 0;
    }
    following.declared = deployment;
    const { served } = following.endpoint;
    const isServed =
      served?.generation === deployment.generation && served.bundle === deployment.bundle;
    const isBusy = following.resuming || following.attempt !== null;
    // A node that works on it lives, and says so.
    if (isServed || isBusy || Date.now() < following.retryAt) void report(following);
    else void converge(following, deployment);
  }

  async function readDeclared(): Promise<Deployment[]> {
    if (only === null) return listDeployments(store);
    const deployment = await readDeployment(store, only);
    return deployment === null ? [] : [deployment];
  }

  async function poll(): Promise<void> {
    let away: 'bucket' | 'registry' | null = null;
    while (!stopping.signal.aborted) {
      try {
        const deployments = await soon('what is declared', readDeclared());
        if (stopping.signal.aborted) return;
        if (away === 'registry') {
          log.info('the registry answers again');
          // What waited for it need not wait for its turn.
          for (const one of followed.values()) if (one.trying !== null) one.retryAt = 0;
        }
        away = null;
        for (const deployment of deployments) consider(deployment);
      } catch (error) {
        const hasNoBucket = nameOf((error as Error).cause) === 'NoSuchBucket';
        const reason = hasNoBucket ? 'bucket' : 'registry';
        if (away !== reason) {
          if (hasNoBucket) log.info({ bucket: store.bucket }, 'waiting for the bucket');
          else log.warn({ err: error }, 'the registry does not answer; serving goes on');
        }
        away = reason;
      }
      await sleep(pollMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }

  const endpoints = (): Endpoint[] => [...followed.values()].map(({ endpoint }) => endpoint);
  const app = createApp({ keys, endpoints, log, now });
  const listener = await listen(app, options.port);
  log.info({ url: listener.url, node }, 'listening');
  for (const deployment of lastGood.all()) {
    if (only === null || deployment.endpoint === only) void resume(deployment);
  }
  void poll();

  return {
    url: listener.url,
    app,
    endpoints,
    async close() {
      stopping.abort();
      await Promise.all([listener.close(closeMs), ...endpoints().map((one) => one.stop())]);
    },
  };
}
