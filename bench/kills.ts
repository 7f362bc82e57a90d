/**
 * Kills every kind of process at random instants of trainings, as many times as asked, and holds what they
 * gave against one undisturbed training: weights, optimizer, random numbers and losses, to the bit.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { isTrainer, killKinds, seeded, type KillKind } from '../client/cli/chaos-schedule.ts';
import type { PretrainRecipe } from '../config/recipe.ts';
import { killVictim, listVictims } from '../infra/kill.ts';
import { describeMachine } from '../infra/machine.ts';
import { defineBench, say } from './support/bench.ts';
import {
  compareWith,
  prepareComparable,
  startAgain,
  untilEnded,
  type Comparable,
} from './support/disturbed.ts';
import { median, quantile } from './support/figures.ts';
import { startsOf, trainingAgainMs } from './support/recovery.ts';
import { withHome, withStack, type BenchStack } from './support/stack.ts';
import type { Reference } from './support/training.ts';

interface Kill {
  kind: KillKind;
  run: string;
  /** Unix time, seconds. */
  at: number;
}

interface Disturbed {
  run: string;
  faults: string[];
  /** Of steps, for each start after the first. */
  lost: number[];
  again: Again[];
}

/** Until a trainer that was killed is training again; `alone`: nothing else was killed meanwhile. */
interface Again {
  ms: number;
  alone: boolean;
}

export const kills = defineBench({
  name: 'kills',
  summary:
    'SIGKILLs of every kind of process at random instants of trainings: the same bits, and what was lost',
  settings: z.strictObject({
    kills: z.int().min(1).max(10_000).default(100).describe('in all'),
    each: z.int().min(1).max(50).default(15).describe('of one training at most'),
    seconds: z.number().positive().max(600).default(300).describe('planned time of one training'),
    seed: z.int().min(0).default(1).describe('of kinds and instants'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ kills: numKills, each, seconds, seed, keep }) {
    return await withHome('kills', { keep }, async (home) =>
      withStack(home, async (stack) => {
        const training = await prepareComparable(stack, home, { seconds, numSaves: 15 });
        const random = seeded(seed);
        const made: Kill[] = [];
        const runs: Disturbed[] = [];
        while (made.length < numKills) {
          const wanted = Math.min(each, numKills - made.length);
          const disturbed = await disturb(stack, home, training, {
            index: runs.length,
            wanted,
            gapMs: (seconds * 1000 * 1.5) / each,
            random,
            made,
          });
          runs.push(disturbed);
          const told =
            disturbed.faults.length === 0 ? 'the same bits' : disturbed.faults.join('; ');
          say(`  ${made.length} of ${numKills} kills, training ${runs.length}: ${told}`);
        }
        return conclude({ runs, made, recipe: training.recipe });
      }),
    );
  },
});

interface Plan {
  index: number;
  wanted: number;
  gapMs: number;
  random: () => number;
  /** Every kill is added to it. */
  made: Kill[];
}

async function disturb(
  stack: BenchStack,
  home: string,
  training: Comparable,
  { index, wanted, gapMs, random, made }: Plan,
): Promise<Disturbed> {
  const run = `kills-${index}`;
  await startAgain(stack, training, { run, index });
  const before = made.length;
  const ended = new AbortController();
  const finished = untilEnded(stack, run).finally(() => ended.abort());
  const disturbing = (async () => {
    while (made.length - before < wanted) {
      await sleep(gapMs * random() * 2, undefined, { signal: ended.signal });
      await killOne(home, run, random, made);
    }
  })().catch((error: unknown) => {
    // The training was over before all of them were made: the next one takes the rest.
    if (!ended.signal.aborted) throw error;
  });
  const failure = await finished;
  await disturbing;
  const { reference } = training;
  return await judge(stack, home, { run, failure, reference, made });
}

async function killOne(
  home: string,
  run: string,
  random: () => number,
  made: Kill[],
): Promise<void> {
  const victims = await listVictims(home);
  const kind = killKinds[Math.floor(random() * killKinds.length)]!;
  const candidates = victims.filter((victim) => victim.kind === kind);
  const victim = candidates[Math.floor(random() * candidates.length)];
  if (victim === undefined || !killVictim(victim)) return;
  made.push({ kind, run, at: Date.now() / 1000 });
}

async function judge(
  stack: BenchStack,
  home: string,
  {
    run,
    failure,
    reference,
    made,
  }: { run: string; failure: string | null; reference: Reference; made: Kill[] },
): Promise<Disturbed> {
  if (failure !== null) return { run, faults: [failure], lost: [], again: [] };
  const { events, faults } = await compareWith(stack, home, run, reference);
  const own = made.filter((kill) => kill.run === run);
  const trainerKills = own.filter(({ kind }) => isTrainer(kind));
  const starts = startsOf(events);
  return {
    run,
    faults: [
      ...faults,
      ...(starts.length - 1 > trainerKills.length
        ? [`${starts.length - 1} restarts for ${trainerKills.length} kills of the trainer`]
        : []),
    ],
    lost: starts.slice(1).map(({ lost }) => lost),
    again: trainerKills.flatMap((kill): Again[] => {
      const ms = trainingAgainMs(events, kill.at);
      if (ms === null) return [];
      const meanwhile = own.filter(({ at }) => at > kill.at && at < kill.at + ms / 1000);
      return [{ ms, alone: meanwhile.length === 0 }];
    }),
  };
}

function conclude({
  runs,
  made,
  recipe,
}: {
  runs: Disturbed[];
  made: Kill[];
  recipe: PretrainRecipe;
}) {
  const again = runs.flatMap((run) => run.again);
  const lost = runs.flatMap((run) => run.lost);
  const equal = runs.filter(({ faults }) => faults.length === 0).length;
  const kinds = Object.fromEntries(
    killKinds.map((kind) => [kind, made.filter((kill) => kill.kind === kind).length]),
  );
  const all = secondsOf(again);
  const alone = secondsOf(again.filter((one) => one.alone));
  return {
    figures: {
      kills: made.length,
      kinds,
      trainings: runs.length,
      equal,
      saveEverySteps: recipe.saveEverySteps,
      lostSteps: { median: lost.length === 0 ? 0 : median(lost), most: Math.max(0, ...lost) },
      trainingAgainS: { ...all, alone },
      faults: runs.flatMap(({ run, faults }) => faults.map((fault) => `${run}: ${fault}`)),
      instructionSet: describeMachine().instructionSet,
    },
    bounds: [
      {
        name: 'trainings with the same bits, restarts for trainer kills alone, no orphans',
        value: equal / runs.length,
        min: 1,
      },
      {
        name: 'lost at most, of a save interval',
        value: Math.max(0, ...lost) / recipe.saveEverySteps,
        max: 1,
      },
      {
        name: 'training again after the kill of a rank or torchrun, p95, s',
        value: all.p95,
        max: 30,
      },
    ],
  };
}

function secondsOf(again: readonly Again[]) {
  const seconds = again.map(({ ms }) => ms / 1000);
  if (seconds.length === 0) return { number: 0, median: null, p95: null, most: null };
  return {
    number: seconds.length,
    median: median(seconds),
    p95: quantile(seconds, 0.95),
    most: Math.max(...seconds),
  };
}
