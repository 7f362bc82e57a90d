/** Model versions as an operator sees them: which there are, what they can do, which one is served. */
import {
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import type { Deployment, ModelVersion } from '../config/manifests.ts';
import { TaskQueue } from '../config/queues.ts';
import { listDeployments } from '../registry/deployments.ts';
import { getModel, listModels, listVersions, moveAlias, readAlias } from '../registry/models.ts';
import type { Store } from '../registry/store.ts';
import { findTrained } from '../registry/trained.ts';
import {
  deployVersionUpdate,
  workflowId,
  type DeployOutcome,
  type DeployRequest,
} from '../workflows/messages.ts';
import { ClientError, rootMessage } from './errors.ts';
import { nearest } from './nearest.ts';

export interface ModelSummary {
  name: string;
  /** Version that the alias champion points to. */
  champion: number | null;
  versions: number[];
  endpoints: string[];
}

export interface ModelDetails {
  version: ModelVersion;
  champion: number | null;
  deployments: Deployment[];
  /** What adapting a base model brought; null where none was adapted. */
  adapted: { valBpbBefore: number; valBpb: number } | null;
}

export interface Rollback {
  model: string;
  from: number;
  to: number;
  /** Empty where no endpoint serves the model: then the alias champion moved, and nothing else. */
  deployments: (DeployOutcome & { endpoint: string })[];
}

export interface Promotion extends Omit<Rollback, 'from'> {
  /** The champion before; null when there was none. */
  from: number | null;
}

export interface Models {
  list(): Promise<ModelSummary[]>;
  /** `policy` means its champion, `policy@2` that version. */
  show(reference: string): Promise<ModelDetails>;
  /** Back to `to`, or to the champion before the present one, on every endpoint that serves the model, if any. */
  rollback(
    model: string,
    options: { to?: number | undefined; by: string; reason: string },
  ): Promise<Rollback>;
  /** Makes a version, `policy@2`, the champion, and serves it where the model is served, or at a named endpoint. */
  promote(
    reference: string,
    options: { endpoint?: string | undefined; by: string; reason: string },
  ): Promise<Promotion>;
}

/** Splits `name@version`. */
export function parseModelReference(reference: string): { name: string; version: number | null } {
  const match = /^([a-z][a-z0-9-]*)(?:@(\d{1,9}))?$/.exec(reference);
  if (match === null) {
    throw new ClientError(
      'input',
      `model: found ${JSON.stringify(reference)}, expected a name such as policy, or policy@2 for one version.`,
    );
  }
  return { name: match[1]!, version: match[2] === undefined ? null : Number(match[2]) };
}

/**
 * The version that was champion before the present one: lower, and the highest of those. A version that
 * was taken back was never champion.
 */
export function previousChampion(moves: readonly { version: number }[]): number | null {
  const current = moves.at(-1)?.version;
  if (current === undefined) return null;
  const lower = moves.map((move) => move.version).filter((version) => version < current);
  return lower.length === 0 ? null : Math.max(...lower);
}

/** One version, which the registry alone can answer: `policy` means its champion, `policy@2` that one. */
export async function showModel(store: Store, reference: string): Promise<ModelDetails> {
  const { name, version } = parseModelReference(reference);
  const versions = await versionNumbersOf(store, name);
  if (versions.length === 0) throw await unknownModel(store, name);
  const current = await championOf(store, name);
  const wanted = version ?? current ?? versions.at(-1)!;
  const found = await getModel(store, name, wanted);
  if (found === null) {
    throw noVersion(name, wanted, versions);
  }
  return {
    version: found,
    champion: current,
    deployments: await deploymentsOfModel(store, name),
    adapted: await adaptedOf(store, found),
  };
}

async function adaptedOf(
  store: Store,
  { lineage }: ModelVersion,
): Promise<ModelDetails['adapted']> {
  const first = lineage.phases[0];
  if (first?.stage === undefined) return null;
  return (await findTrained(store, first))?.manifest.adapted ?? null;
}

async function unknownModel(store: Store, name: string): Promise<ClientError> {
  const names = await listModels(store);
  const near = nearest(name, names);
  const known = names.length === 0 ? 'none yet' : names.join(', ');
  const hint = near === null ? '' : ` Did you mean ${near}?`;
  return new ClientError(
    'input',
    `model: found "${name}", expected one that is registered (${known}).${hint}`,
  );
}

async function championOf(store: Store, name: string): Promise<number | null> {
  return (await readAlias(store, name, 'champion'))?.version ?? null;
}

async function versionNumbersOf(store: Store, name: string): Promise<number[]> {
  return (await listVersions(store, name)).map(({ version }) => version);
}

async function deploymentsOfModel(store: Store, name: string): Promise<Deployment[]> {
  return (await listDeployments(store)).filter((deployment) => deployment.model === name);
}

/** The models part of the client; the registry answers, and the deployment's workflow moves what is served. */
export function openModels(client: Client, store: () => Store): Models {
  const champion = (name: string) => championOf(store(), name);
  const versionNumbers = (name: string) => versionNumbersOf(store(), name);
  const deploymentsOf = (name: string) => deploymentsOfModel(store(), name);

  /** One endpoint after the other, each through its own workflow; without any, the alias alone is left to move. */
  const moveTo = async (endpoints: readonly { endpoint: string }[], request: DeployRequest) => {
    if (endpoints.length === 0) {
      const { model, version, by, reason } = request;
      const move = { version, by, reason, now: new Date() };
      await moveAlias(store(), model, 'champion', move);
    }
    const deployments: Rollback['deployments'] = [];
    for (const { endpoint } of endpoints) {
      deployments.push({ endpoint, ...(await deployVersion(client, endpoint, request)) });
    }
    return deployments;
  };

  return {
    async list() {
      const names = await listModels(store());
      return Promise.all(
        names.map(async (name) => ({
          name,
          champion: await champion(name),
          versions: await versionNumbers(name),
          endpoints: (await deploymentsOf(name)).map((deployment) => deployment.endpoint),
        })),
      );
    },

    show: (reference) => showModel(store(), reference),

    async rollback(model, { to, by, reason }) {
      const alias = await readAlias(store(), model, 'champion');
      if (alias === null) {
        if ((await versionNumbers(model)).length === 0) throw await unknownModel(store(), model);
        throw new ClientError(
          'input',
          `${model}: no version of it was ever champion, so there is none to go back to.`,
        );
      }
      const from = alias.version;
      const target = to ?? previousChampion(alias.moves);
      if (target === null) {
        throw new ClientError(
          'input',
          `${model}@${from} is its first champion: there is none to go back to. ` +
            `Name one with --to; npx temper models show ${model} lists them.`,
        );
      }
      const deployed = await deploymentsOf(model);
      // A rollback that broke off between two endpoints is finished by asking for it again.
      if (target === from && deployed.every(({ version }) => version === target)) {
        throw new ClientError('input', `${model}@${from} is already the champion: nothing moved.`);
      }
      if ((await getModel(store(), model, target)) === null) {
        const versions = await versionNumbers(model);
        throw noVersion(model, target, versions);
      }
      const request = { model, version: target, by, reason };
      return { model, from, to: target, deployments: await moveTo(deployed, request) };
    },

    async promote(reference, { endpoint, by, reason }) {
      const { name: model, version: to } = parseModelReference(reference);
      if (to === null) {
        throw new ClientError(
          'input',
          `model: found ${JSON.stringify(reference)}, expected the version to promote, such as ${model}@2. npx temper models list shows them.`,
        );
      }
      // Says what is wrong with one that there is not.
      await showModel(store(), reference);
      const from = await champion(model);
      const deployed = endpoint === undefined ? await deploymentsOf(model) : [{ endpoint }];
      const there = await listDeployments(store());
      const served = deployed.every(({ endpoint: at }) =>
        there.some((one) => one.endpoint === at && one.model === model && one.version === to),
      );
      if (from === to && served) {
        throw new ClientError('input', `${reference} is already the champion: nothing moved.`);
      }
      const request = { model, version: to, by, reason };
      return { model, from, to, deployments: await moveTo(deployed, request) };
    },
  };
}

async function deployVersion(
  client: Client,
  endpoint: string,
  request: DeployRequest,
): Promise<DeployOutcome> {
  try {
    return await client.workflow.executeUpdateWithStart(deployVersionUpdate, {
      args: [request],
      startWorkflowOperation: new WithStartWorkflowOperation('deploymentWorkflow', {
        workflowId: workflowId.deployment(endpoint),
        taskQueue: TaskQueue.control,
        args: [{ endpoint }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: `endpoint ${endpoint}: what it serves, and every change of it`,
      }),
    });
  } catch (error) {
    if (!(error instanceof WorkflowUpdateFailedError)) throw error;
    throw new ClientError('failed', `${endpoint}: ${rootMessage(error)}`, error);
  }
}

function noVersion(name: string, wanted: number, versions: readonly number[]): ClientError {
  return new ClientError(
    'input',
    `${name}: found no version ${wanted}, expected ${versions.join(', ')}. Name one of them; npx temper models list shows what is served.`,
  );
}
