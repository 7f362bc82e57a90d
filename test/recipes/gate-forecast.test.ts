/** Gates that a plan expects to be missed are told, and none is refused. */
import { expect, test } from 'vitest';
import { evaluateSchema } from '../../config/gates.ts';
import type { Recipe } from '../../config/recipe.ts';
import { gateWarnings } from '../../recipes/gate-forecast.ts';
import { planPhases } from '../../recipes/phases.ts';
import { adaptedInputs, planInputs, recipe } from '../support/recipes.ts';

const warned = (gates: object, planned: Recipe = recipe, replan = 1) =>
  gateWarnings(evaluateSchema.parse({ gates, onFailure: { replan } }), planned);
const { valBpbLow: low, valBpbHigh: high } = recipe.estimate;
const range = `${low.toFixed(2)} to ${high.toFixed(2)}`;

test('a gate below the forecast is told with the range, what it costs, and what to do', () => {
  const max = low - 0.1;
  expect(warned({ valBpb: { max } })).toEqual([
    `evaluate.gates.valBpb: max ${max} stands below the forecast, ${range}: a run would train 2 rounds and deploy nothing. Raise it, or give more text or time.`,
  ]);
  expect(warned({ valBpb: { max } }, recipe, 0)[0]).toContain('would train once and deploy');
});

test('a gate in the lower half is sooner missed than kept; one in the upper half says nothing', () => {
  expect(warned({ valBpb: { max: low + 0.01 } })[0]).toMatch(/lower half of the forecast, /);
  expect(warned({ valBpb: { max: (low + high) / 2 } })).toEqual([]);
  expect(warned({ valBpb: { max: 9 } })).toEqual([]);
  expect(warned({ valBpb: { min: high + 1 } })[0]).toMatch(/min .* stands above the forecast/);
  expect(warned({})).toEqual([]);
});

test('hidden words are held to their own figure, answers to none, for nobody foretells them', () => {
  const masked = planPhases({ ...planInputs, goal: 'embeddings' });
  const { finalLoss } = masked.estimate;
  expect(warned({ 'masked.loss': { max: 0.8 * finalLoss } }, masked)).toHaveLength(1);
  expect(warned({ 'masked.loss': { max: 1.05 * finalLoss } }, masked)).toEqual([]);
  expect(warned({ 'masked.accuracy': { min: 0.99 } }, masked)).toEqual([]);
  const tuned = planPhases(adaptedInputs, ['sft']);
  expect(warned({ 'questions.accuracy': { min: 1 } }, tuned)).toEqual([]);
});
