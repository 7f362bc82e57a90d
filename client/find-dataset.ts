/** The dataset version that a reference means, of what the registry holds. */
import type { DatasetManifest } from '../config/manifests.ts';
import { datasetNames, getDataset, latestDataset, listDatasets } from '../registry/datasets.ts';
import type { Store } from '../registry/store.ts';
import { ClientError } from './errors.ts';
import { nearest } from './nearest.ts';

/** The version that `policy`, the newest, or `policy@2` means; `field` is what the ClientError speaks of. */
export async function findDataset(
  store: Store,
  reference: string,
  field = 'dataset',
): Promise<DatasetManifest> {
  const match = /^([a-z][a-z0-9-]*)(?:@(\d{1,9}))?$/.exec(reference);
  if (match === null) {
    throw new ClientError(
      'input',
      `${field}: found ${JSON.stringify(reference)}, expected a name such as policy, or policy@2 for one version.`,
    );
  }
  const name = match[1]!;
  const newest = await latestDataset(store, name);
  if (newest === null) {
    const names = await datasetNames(store);
    const near = nearest(name, names);
    const hint = near === null ? '' : ` Did you mean ${near}?`;
    throw new ClientError(
      'input',
      `${field}: found "${name}", expected one that is registered (${names.join(', ') || 'none yet'}).${hint}`,
    );
  }
  if (match[2] === undefined) return newest;
  const wanted = Number(match[2]);
  const dataset = await getDataset(store, name, wanted);
  if (dataset !== null) return dataset;
  const all = (await listDatasets(store)).filter((version) => version.name === name);
  const versions = all.map(({ version }) => version).join(', ');
  throw new ClientError(
    'input',
    `${field === 'dataset' ? '' : `${field} `}${name}: found no version ${wanted}, expected ${versions}. Name one of them, or ${name} for the newest.`,
  );
}
