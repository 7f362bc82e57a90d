/** What each endpoint shall serve, and what each node says it serves. */
import {
  deploymentSchema,
  nodeReportSchema,
  type Deployment,
  type NodeReport,
} from '../config/manifests.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

/** A node writes its report again after this time, so that a dead node's can be told by its age. */
export const reportEveryMs = 15_000;

function deploymentKey(endpoint: string): string {
  return `deployments/${keyPart('endpoint', endpoint)}.json`;
}

function nodesPrefix(endpoint: string): string {
  return `deployments/${keyPart('endpoint', endpoint)}/nodes/`;
}

/** Declares what an endpoint serves, under the next generation; what is declared already stays as it is. */
export async function declareDeployment(
  store: Store,
  wanted: Omit<Deployment, 'schemaVersion' | 'generation'>,
): Promise<Deployment> {
  return updateRecord(store, deploymentKey(wanted.endpoint), deploymentSchema, (current) => {
    const same =
      current?.model === wanted.model &&
      current.version === wanted.version &&
      current.bundle === wanted.bundle;
    if (current !== null && same) return current;
    return { schemaVersion: 1, ...wanted, generation: (current?.generation ?? 0) + 1 };
  });
}

/** What an endpoint shall serve; null when nothing was declared. */
export async function readDeployment(store: Store, endpoint: string): Promise<Deployment | null> {
  return (await readRecord(store, deploymentKey(endpoint), deploymentSchema))?.value ?? null;
}

/** Every declared deployment, by endpoint. */
export async function listDeployments(store: Store): Promise<Deployment[]> {
  const endpoints: string[] = [];
  for await (const { key } of store.list('deployments/')) {
    const match = /^deployments\/([^/]+)\.json$/.exec(key);
    if (match?.[1] !== undefined) endpoints.push(match[1]);
  }
  const found = await Promise.all(
    endpoints.toSorted().map((endpoint) => readDeployment(store, endpoint)),
  );
  return found.filter((deployment) => deployment !== null);
}

/** Replaces a node's report of what it serves. */
export async function reportNode(store: Store, report: NodeReport): Promise<void> {
  const key = `${nodesPrefix(report.endpoint)}${keyPart('node', report.node)}.json`;
  await updateRecord(store, key, nodeReportSchema, () => report);
}

/** The reports of nodes that live: one that missed three of its reports is gone, and what it said counts no more. */
export function livingReports(reports: readonly NodeReport[], now: Date): NodeReport[] {
  return reports.filter(({ at }) => now.getTime() - Date.parse(at) < 3 * reportEveryMs);
}

/** The reports of an endpoint's nodes, by name. */
export async function readNodeReports(store: Store, endpoint: string): Promise<NodeReport[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(nodesPrefix(endpoint))) keys.push(key);
  const found = await Promise.all(
    keys.toSorted().map((key) => readRecord(store, key, nodeReportSchema)),
  );
  return found.flatMap((record) => (record === null ? [] : [record.value]));
}
