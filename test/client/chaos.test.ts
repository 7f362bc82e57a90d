import { expect, test } from 'vitest';
import { createKiller } from '../../client/cli/chaos-killer.ts';
import {
  chooseKill,
  isTrainer,
  killKinds,
  planKills,
  progressAt,
  type KillKind,
  type Moment,
} from '../../client/cli/chaos-schedule.ts';
import type { LiveStatus } from '../../client/live-status.ts';
import { stageOfPhase } from '../../client/live-status.ts';
import type { Victim } from '../../infra/kill.ts';
import { victimKinds } from '../../infra/kill.ts';
import { stageNames } from '../../workflows/messages.ts';
import { start, statusAt, trainingAt } from './samples.ts';

test('the kinds of the schedule are those that the stack can kill', () => {
  expect([...killKinds].toSorted()).toEqual([...victimKinds].toSorted());
});

test('a seed repeats its kills, and another seed gives others', () => {
  expect(planKills(7, 20)).toEqual(planKills(7, 20));
  expect(planKills(7, 20)).not.toEqual(planKills(8, 20));
});

test('every seed covers every kind, in the order of progress, before the end of the run', () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const kills = planKills(seed, 20);
    expect(kills).toHaveLength(20);
    expect(new Set(kills.map((kill) => kill.kind))).toEqual(new Set(killKinds));
    const instants = kills.map((kill) => kill.at);
    expect(instants).toEqual(instants.toSorted((a, b) => a - b));
    expect(instants.at(-1)).toBeLessThan(progressAt('deploy', 0));
    const trainers = kills.filter((kill) => isTrainer(kill.kind));
    expect(trainers.every((kill) => kill.at >= progressAt('pretrain', 0))).toBe(true);
    expect(trainers.every((kill) => kill.at < progressAt('evaluate-tuned', 0))).toBe(true);
  }
});

test('progress rises from stage to stage, from 0 to 1', () => {
  const points = stageNames.flatMap((stage) => [progressAt(stage, 0), progressAt(stage, 0.5)]);
  expect(points).toEqual(points.toSorted((a, b) => a - b));
  expect(points[0]).toBe(0);
  expect(progressAt('deploy', 1)).toBe(1);
});

const everything: ReadonlySet<KillKind> = new Set(killKinds);
const moment = (change: Partial<Moment>): Moment => ({
  progress: 1,
  training: { phase: 'pretrain', durableStep: 200 },
  trainingOver: false,
  alive: everything,
  ...change,
});

test('a trainer is killed only after a checkpoint newer than at the last such kill', () => {
  const rank = [{ kind: 'rank' as const, at: 0, pick: 0 }];
  const kindAt = (change: Partial<Moment>, last: Moment['training']) =>
    chooseKill(rank, moment(change), last)?.kind ?? null;
  expect(kindAt({}, null)).toBe('rank');
  expect(kindAt({ training: null }, null)).toBeNull();
  expect(kindAt({ training: { phase: 'pretrain', durableStep: 0 } }, null)).toBeNull();
  expect(kindAt({}, { phase: 'pretrain', durableStep: 200 })).toBeNull();
  expect(kindAt({}, { phase: 'pretrain', durableStep: 100 })).toBe('rank');
  expect(
    kindAt(
      { training: { phase: 'sft', durableStep: 20 } },
      { phase: 'pretrain', durableStep: 900 },
    ),
  ).toBe('rank');
});

test('what may not be killed yet does not hold up the others', () => {
  const kills = [
    { kind: 'rank' as const, at: 0, pick: 0 },
    { kind: 's3' as const, at: 0.1, pick: 0 },
  ];
  expect(chooseKill(kills, moment({ training: null }), null)?.kind).toBe('s3');
  expect(chooseKill(kills, moment({ training: null, progress: 0.05 }), null)).toBeNull();
});

test('trainer kills that found no moment fall to others once training is over', () => {
  const rank = [{ kind: 'rank' as const, at: 0, pick: 0.99 }];
  const choice = chooseKill(rank, moment({ training: null, trainingOver: true }), null);
  expect(choice?.kind).toBe('temporal');
  expect(choice?.planned).toBe(rank[0]);
});

/** A run whose processes come back two seconds after they were killed. */
function simulate(seed: number, numKills: number, secondsAStage: number, saveEvery = 100) {
  let now = start;
  let nextPid = 100;
  const born = (kind: KillKind): Victim => ({ kind, pid: nextPid++, startTime: now });
  let living = killKinds.map(born);
  const returning: { kind: KillKind; at: number }[] = [];
  const told: string[] = [];
  const killedAt: { kind: KillKind; phase: string | null; durable: number }[] = [];
  let status: LiveStatus = statusAt('ingest');
  const killer = createKiller(
    planKills(seed, numKills),
    {
      listVictims: async () => living,
      killVictim: (victim) => {
        living = living.filter((one) => one !== victim);
        returning.push({ kind: victim.kind, at: now + 2000 });
        const { training } = status;
        killedAt.push({
          kind: victim.kind,
          phase: training?.phase ?? null,
          durable: training?.durableStep ?? 0,
        });
        return true;
      },
    },
    (line) => told.push(line),
  );
  const go = async () => {
    let events = 0;
    for (const stage of stageNames) {
      const phase = Object.entries(stageOfPhase).find(([, name]) => name === stage)?.[0];
      let step = 0;
      for (let tick = 0; tick < secondsAStage * 2;) {
        now += 500;
        for (const one of returning.filter(({ at }) => at <= now)) {
          returning.splice(returning.indexOf(one), 1);
          living.push(born(one.kind));
        }
        const stopped = returning.length > 0;
        if (!stopped) {
          tick += 1;
          step = Math.round((tick / (secondsAStage * 2)) * 2000);
          events += 1;
        }
        const durableStep = Math.floor(step / saveEvery) * saveEvery;
        const training = phase === undefined ? null : trainingAt(step, { phase, durableStep });
        status = statusAt(stage, { numEvents: events, training });
        for (const one of status.stages)
          if (one.startedAt !== null) one.startedAt = now - tick * 500;
        await killer.observe(status, now);
      }
    }
  };
  return { go, killer, told, killedAt };
}

test.each([1, 2, 3, 4, 5, 6])(
  'seed %i makes all of its kills, and the run goes forward between them',
  async (seed) => {
    const { go, killer, told, killedAt } = simulate(seed, 20, 30);
    await go();
    expect(killer.kills).toHaveLength(20);
    expect(new Set(killer.kills.map((kill) => kill.kind))).toEqual(new Set(killKinds));
    expect(killer.kills.every((kill) => kill.movedMs !== null && kill.movedMs >= 2000)).toBe(true);
    for (const [index, kill] of killer.kills.entries()) {
      const before = killer.kills[index - 1];
      if (before) expect(kill.atMs).toBeGreaterThanOrEqual(before.atMs + (before.movedMs ?? 0));
    }
    const trainers = killedAt.filter((kill) => isTrainer(kill.kind));
    for (const [index, kill] of trainers.entries()) {
      const before = trainers[index - 1];
      expect(kill.durable).toBeGreaterThan(0);
      if (before?.phase === kill.phase) expect(kill.durable).toBeGreaterThan(before!.durable);
    }
    expect(told.filter((line) => line.startsWith('⚡'))).toHaveLength(20);
    expect(told[0]).toMatch(/^⚡ 1\/20 SIGKILL \w+ \(pid \d+\) at 0:\d\d, in \w+/);
    expect(told[1]).toMatch(/^ {2}\w+ back after 2\.\d s; the run moved again after [23]\.\d s$/);
  },
);

test('a run that is too short for its kills shows fewer of them', async () => {
  const { go, killer } = simulate(1, 20, 1);
  await go();
  expect(killer.kills.length).toBeLessThan(20);
});
