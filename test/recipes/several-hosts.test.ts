/** What several hosts change of a plan: its price, and what of it they could not share. */
import { expect, test } from 'vitest';
import { pipelineSchema } from '../../config/pipeline.ts';
import { holding, plannedTimeMs } from '../../recipes/held-budget.ts';
import { DoesNotFit } from '../../recipes/memory.ts';
import { onHosts } from '../../recipes/several-hosts.ts';
import { recipe } from '../support/recipes.ts';

const pipeline = (budget: object, hosts: number) =>
  pipelineSchema.parse({
    version: 1,
    name: 'policy',
    data: { sources: [{ path: './docs', license: 'internal' }] },
    budget,
    compute: { hosts },
  });
const hour = 3_600_000;

test('hosts are paid for all together', () => {
  const file = pipeline({ time: '2h', usdPerHour: 2500 }, 4);
  const one = holding(recipe, file.budget);
  expect(one.estimate.usd).toBeGreaterThan(0);
  expect(onHosts(one, file).estimate).toEqual({
    ...one.estimate,
    usd: Number((4 * one.estimate.usd).toFixed(2)),
  });
  expect(onHosts(one, { compute: 'local' })).toBe(one);
});

test('dollars afford as much less time as there are hosts, and time that is asked for stays', () => {
  const price = { usd: 5, usdPerHour: 2.5, whenSpent: 'go-on' };
  const planned = ({ budget, compute }: ReturnType<typeof pipeline>) =>
    plannedTimeMs(budget, compute);
  expect(planned(pipeline(price, 4))).toBe(hour / 2);
  expect(planned(pipeline({ ...price, time: '10m' }, 4))).toBe(hour / 6);
  expect(planned(pipeline({ time: '2h', usdPerHour: 2.5 }, 4))).toBe(2 * hour);
});

test('what cannot be parted among the hosts does not fit', () => {
  const file = pipeline({}, 16);
  const { pretrain } = recipe;
  const refused = (changed: object) => () => onHosts({ ...recipe, ...changed }, file);
  expect(refused({ pretrain: { ...pretrain, batchSize: 8 } })).toThrow(DoesNotFit);
  expect(refused({ pretrain: { ...pretrain, batchSize: 8 } })).toThrow(
    'compute.hosts: found 16, expected a number that parts a batch of 8 equally',
  );
  expect(refused({ pretrain: null })).toThrow(DoesNotFit);
});
