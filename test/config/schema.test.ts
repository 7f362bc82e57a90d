import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { pipelineJsonSchema } from '../../config/json-schema.ts';

const file = path.resolve(import.meta.dirname, '../../config/temper.schema.json');
type Node = Record<string, unknown> & { properties?: Record<string, Node>; items?: Node };

test('the checked-in JSON Schema is the one that the zod schema gives; npm run schema writes it', () => {
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(pipelineJsonSchema())),
  );
});

test('every object of the JSON Schema is closed or says what its keys are', () => {
  const open: string[] = [];
  walk(pipelineJsonSchema() as Node, '', (node, place) => {
    if (node['type'] === 'object' && node['additionalProperties'] === undefined) open.push(place);
  });
  expect(open).toEqual([]);
});

test('every field of the JSON Schema explains itself', () => {
  const silent: string[] = [];
  walk(pipelineJsonSchema() as Node, '', (node, place) => {
    for (const [name, field] of Object.entries(node.properties ?? {}))
      if (typeof field['description'] !== 'string') silent.push(`${place}.${name}`);
  });
  expect(silent).toEqual([]);
});

const sources = [{ path: './docs', license: 'internal' }];
const manyRates = (count: number) => Array.from({ length: count }, (_rate, at) => at + 1);
const minimal = { version: 1, name: 'policy', data: { sources } };
test.each<[what: string, accepted: boolean, file: unknown]>([
  ['the least that there can be', true, minimal],
  ['shares and durations with their units', true, { ...minimal, budget: { time: '20m' } }],
  ['dollars alone', true, { ...minimal, budget: { usd: 20, usdPerHour: 2.5 } }],
  ['a share as text', true, { ...minimal, data: { sources, sample: '1%', heldOut: 0.02 } }],
  ['a gate', true, { ...minimal, evaluate: { gates: { valBpb: { max: 2.2 } } } }],
  ['a model to go on from', true, { ...minimal, startFrom: 'policy@champion' }],
  ['a model to go on from without its version', false, { ...minimal, startFrom: 'policy' }],
  ['rates to try', true, { ...minimal, sweep: { learningRate: [0.5, 1, 2, 4], halving: 2 } }],
  ['one rate to try', false, { ...minimal, sweep: { learningRate: [1] } }],
  ['a rate below zero', false, { ...minimal, sweep: { learningRate: [1, -2] } }],
  ['33 rates', false, { ...minimal, sweep: { learningRate: manyRates(33) } }],
  ['32 rates', true, { ...minimal, sweep: { learningRate: manyRates(32) } }],
  [
    'a phase that is not searched',
    false,
    { ...minimal, sweep: { learningRate: [1, 2], phase: 'sft' } },
  ],
  ['chats that share rows', true, { ...minimal, packing: true }],
  ['a packing that there is not', false, { ...minimal, packing: 'auto' }],
  ['an unknown key', false, { ...minimal, gaol: 'base' }],
  ['an unknown key inside', false, { ...minimal, data: { sources, heldout: '2%' } }],
  ['a goal that there is not', false, { ...minimal, goal: 'asistant' }],
  ['a name that no folder of the registry could have', false, { ...minimal, name: 'My Policy' }],
  ['a duration without its unit', false, { ...minimal, budget: { time: '20' } }],
  ['an unknown gate', false, { ...minimal, evaluate: { gates: { valbpb: { max: 2 } } } }],
  ['a dataset', true, { ...minimal, data: { dataset: 'laws' } }],
  ['a version of a dataset', true, { ...minimal, data: { dataset: 'laws@12' } }],
  ['version 0 of a dataset', false, { ...minimal, data: { dataset: 'laws@0' } }],
  ['no source', false, { ...minimal, data: { sources: [] } }],
])('the JSON Schema judges as an editor would: %s', (_, accepted, value) => {
  const schema = z.fromJSONSchema(JSON.parse(readFileSync(file, 'utf8')));
  expect(schema.safeParse(value).success).toBe(accepted);
});

function walk(node: Node, place: string, visit: (node: Node, place: string) => void): void {
  visit(node, place);
  for (const [name, field] of Object.entries(node.properties ?? {}))
    walk(field, `${place}.${name}`, visit);
  if (node.items !== undefined) walk(node.items, `${place}[]`, visit);
  for (const [index, option] of ((node['anyOf'] ?? []) as Node[]).entries())
    walk(option, `${place}|${index}`, visit);
}
