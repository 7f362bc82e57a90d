/** What distinguishes two model versions: how each came to be, and what it can do, side by side. */
import { recipeSchema, type Recipe } from '../config/recipe.ts';
import type { ModelVersion } from '../config/manifests.ts';
import { getDataset } from '../registry/datasets.ts';
import { getRunRecord } from '../registry/runs.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { findTrained } from '../registry/trained.ts';
import { joinFacts, recipeFields, type DiffRow, type Facts } from './side-by-side.ts';
import { adaptedWords, baseWords, rateWords } from './report/words.ts';

const parts = ['made', 'data', 'recipe', 'evaluation', 'digest'];

/** Every field that one of them has, in the order of the parts; equal ones too. */
export async function diffModels(
  store: Store,
  a: ModelVersion,
  b: ModelVersion,
): Promise<DiffRow[]> {
  const [left, right] = await Promise.all([factsOf(store, a), factsOf(store, b)]);
  return joinFacts(parts, left, right);
}

async function factsOf(store: Store, version: ModelVersion): Promise<Facts> {
  const { lineage, bundle, evaluations } = version;
  const { dataset } = lineage;
  const facts: Facts = new Map();
  const say = (part: string, field: string, value: string | number | null) =>
    facts.set(field, { part, value });

  say('made', 'made', version.createdAt);
  say('made', 'run', lineage.run);
  const { parent, base } = lineage;
  if (parent !== undefined) say('made', 'goes on from', `${parent.name}@${parent.version}`);
  if (base !== undefined) say('made', 'adapts', baseWords(base));
  const data = await getDataset(store, dataset.name, dataset.version);
  say('data', 'dataset', `${dataset.name}@${dataset.version}`);
  say('data', 'documents', data?.numDocuments ?? null);
  say('data', 'bytes of text', data?.bytes ?? null);
  const licenses = [...new Set(data?.sources.map(({ license }) => license))].toSorted();
  say('data', 'licences', data === null ? null : licenses.join(', '));
  const recipe = await recipeOf(store, version);
  if (recipe !== null) {
    for (const [field, value] of recipeFields(recipe)) say('recipe', field, value);
  }
  for (const phase of lineage.phases) {
    const { learningRates = [], adapted } = (await findTrained(store, phase))?.manifest ?? {};
    if (learningRates.length > 0) {
      say('recipe', `${phase.phase}: rate as ordered`, learningRates.map(rateWords).join(', '));
    }
    if (adapted !== undefined) say('evaluation', `${phase.phase}: adapted`, adaptedWords(adapted));
  }
  for (const [stage, { metrics }] of Object.entries(evaluations)) {
    for (const [metric, { value }] of Object.entries(metrics)) {
      say('evaluation', `${stage}: ${metric}`, Number(value.toPrecision(4)));
    }
  }
  if (base !== undefined) say('digest', 'base weights', base.weights);
  say('digest', 'dataset digest', dataset.digest);
  say('digest', 'corpus', lineage.corpus);
  say('digest', 'recipe', lineage.recipe);
  for (const { phase, weights } of lineage.phases) say('digest', `${phase} weights`, weights);
  say('digest', 'bundle', bundle.digest);
  return facts;
}

/** A later round of the run, or a run of this name in another bucket, may have planned otherwise since. */
async function recipeOf(store: Store, { lineage }: ModelVersion): Promise<Recipe | null> {
  const plan = await getRunRecord(store, lineage.run, 'plan', recipeSchema).catch(() => null);
  return plan !== null && stageDigest(plan) === lineage.recipe ? plan : null;
}
