import { expect, test } from 'vitest';
import { createKiller } from '../../client/cli/chaos-killer.ts';
import { faultsOf, type Evidence } from '../../client/cli/chaos-verdict.ts';
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
import { stageNames, type PipelineResult, type StageName } from '../../workflows/messages.ts';
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
    const atDeploy = kills.filter((kill) => kill.stage === 'deploy');
    expect(atDeploy).toEqual([kills.at(-1)]);
    expect(['serving', 's3']).toContain(atDeploy[0]?.kind);
    expect(instants.at(-2)).toBeLessThan(progressAt('deploy', 0));
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
  stage: null,
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

test('a kill of a stage is made in it and nowhere else, before those that are overdue', () => {
  const kills = [
    { kind: 'gpu' as const, at: 0, pick: 0 },
    { kind: 's3' as const, at: 0, pick: 0, stage: 'deploy' as const },
  ];
  const kindIn = (change: Partial<Moment>) => chooseKill(kills, moment(change), null)?.kind;
  expect(kindIn({ stage: 'evaluate' })).toBe('gpu');
  expect(kindIn({ stage: 'deploy' })).toBe('s3');
  expect(kindIn({ stage: 'deploy', alive: new Set(['gpu']) })).toBe('gpu');
});

test('a pipeline that deploys nothing has no kill planned for a deployment', () => {
  const kills = planKills(1, 20, { deploys: false });
  expect(kills).toHaveLength(20);
  expect(kills.filter((kill) => kill.stage !== undefined)).toEqual([]);
});

/** Seconds of each stage of the quickstart. */
const quickstart: Record<StageName, number> = {
  ingest: 2,
  preprocess: 10,
  plan: 1,
  pretrain: 110,
  'evaluate-base': 12,
  'fine-tune': 45,
  'evaluate-tuned': 8,
  align: 25,
  evaluate: 8,
  deploy: 2,
};

/** A run whose processes come back two seconds after they were killed, and which saves every 20 s. */
function simulate(seed: number, numKills: number, seconds: Record<StageName, number>) {
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
      const secondsAStage = seconds[stage];
      const saveEvery = (2000 * 20) / secondsAStage;
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
        const durableStep = Math.floor(Math.floor(step / saveEvery) * saveEvery);
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

test.each(Array.from({ length: 40 }, (_, seed) => seed + 1))(
  'seed %i makes all of its kills, and the run goes forward between them',
  async (seed) => {
    const { go, killer, told, killedAt } = simulate(seed, 20, quickstart);
    await go();
    expect(killer.kills).toHaveLength(20);
    expect(new Set(killer.kills.map((kill) => kill.kind))).toEqual(new Set(killKinds));
    expect(killer.kills.every((kill) => kill.movedMs !== null && kill.movedMs >= 2000)).toBe(true);
    expect(killer.kills.at(-1)?.stage).toBe('deploy');
    for (const [index, kill] of killer.kills.entries()) {
      if (kill.stage === 'deploy') continue;
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
  const short = Object.fromEntries(stageNames.map((name) => [name, 1]));
  const { go, killer } = simulate(1, 20, short as Record<StageName, number>);
  await go();
  expect(killer.kills.length).toBeLessThan(20);
});

const digests = { tokenizer: 'a', weights: 'b', onnx: 'c', bundle: 'd' };
const evidence = (change: Partial<Evidence> = {}): Evidence => ({
  status: { state: 'finished', failure: null, result: { digests } as PipelineResult },
  reference: digests,
  changed: false,
  kills: killKinds.map((kind) => ({ kind, stage: 'deploy' })),
  numKills: killKinds.length,
  orphans: [],
  deploys: true,
  ...change,
});

test('the same bits are said of digests that were compared, and of nothing else', () => {
  expect(faultsOf(evidence())).toEqual([]);
  const status = { state: 'finished', failure: null, result: null } as const;
  expect(faultsOf(evidence({ status }))).toEqual(['the run gave no digests: nothing was compared']);
  expect(faultsOf(evidence({ reference: { ...digests, onnx: 'x' } }))).toEqual([
    'the onnx differs',
  ]);
});

test('what was left running, not killed or not killed while deploying speaks against the run', () => {
  const kills = killKinds.slice(1).map((kind) => ({ kind, stage: 'pretrain' as const }));
  expect(faultsOf(evidence({ kills, orphans: ['7 weed'] }))).toEqual([
    'only 7 of 8 kills could be made before the run ended',
    'no kill of control',
    'no kill in deploy',
    'left running: 7 weed',
  ]);
});
