/**
 * Decides which process the chaos run kills, and when. Kills follow the progress of the run and not
 * the clock, so that all of them happen before it ends, and a seed repeats them. Pure.
 */
import type { StageName } from '../../workflows/messages.ts';

export const killKinds = [
  'control',
  'data',
  'gpu',
  'torchrun',
  'rank',
  'serving',
  's3',
  'temporal',
] as const;
export type KillKind = (typeof killKinds)[number];

export interface PlannedKill {
  kind: KillKind;
  /** Made in this stage only, and before all others there. */
  stage?: StageName;
  /** Progress of the run, 0 to 1, from which on it is due. */
  at: number;
  /** Which of several processes of the kind: a share of their number. */
  pick: number;
}

/** How the run stands when somebody asks whether to kill now. */
export interface Moment {
  progress: number;
  stage: StageName | null;
  training: { phase: string; durableStep: number } | null;
  /** No stage that trains is running or to come. */
  trainingOver: boolean;
  alive: ReadonlySet<KillKind>;
}

/** What a stage weighs in the progress of a run, about its share of the time. */
const weights: Record<StageName, number> = {
  ingest: 2,
  preprocess: 8,
  plan: 1,
  pretrain: 45,
  'evaluate-base': 8,
  'fine-tune': 14,
  'evaluate-tuned': 6,
  align: 8,
  evaluate: 6,
  deploy: 2,
};
const order = Object.keys(weights) as StageName[];
const total = order.reduce((sum, stage) => sum + weights[stage], 0);

export function isTrainer(kind: KillKind): boolean {
  return kind === 'torchrun' || kind === 'rank';
}

/** Progress of a whole run that stands in this stage, of which this share is done. */
export function progressAt(stage: StageName, share: number): number {
  const before = order.slice(0, order.indexOf(stage)).reduce((sum, name) => sum + weights[name], 0);
  return (before + weights[stage] * Math.min(1, Math.max(0, share))) / total;
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The kills of a seed, in the order in which they are due. Kinds come in shuffled rounds, so eight or
 * more kills cover all of them. Two of three trainers die in pretraining, the others in fine-tuning:
 * each waits for a checkpoint, of which a stage has only a few. Where a model is deployed, the node
 * that is to serve it or the store that it is read from dies while it converges.
 */
export function planKills(
  seed: number,
  numKills: number,
  { deploys = true }: { deploys?: boolean } = {},
): PlannedKill[] {
  const random = seeded(seed);
  const kinds: KillKind[] = [];
  while (kinds.length < numKills) kinds.push(...shuffle([...killKinds], random));
  kinds.length = numKills;
  const trainers = kinds.filter(isTrainer);
  const others = kinds.filter((kind) => !isTrainer(kind));
  const [first, last] = [progressAt('ingest', 0.2), progressAt('evaluate', 0.2)];
  const [early, late] = [progressAt('pretrain', 0.08), progressAt('pretrain', 0.8)];
  const [tune, tuneLate] = [progressAt('fine-tune', 0.1), progressAt('fine-tune', 0.7)];
  const spread = (index: number, count: number, from: number, to: number) =>
    from + ((index + random()) / count) * (to - from);
  const inTune = Math.max(1, Math.round(trainers.length / 3));
  const inPretrain = trainers.length - inTune;
  const victim = random() < 0.5 ? 'serving' : 's3';
  const atDeploy = deploys ? others.splice(others.lastIndexOf(victim), 1) : [];
  return [
    ...others.map((kind, index) => ({ kind, at: spread(index, others.length, first, last) })),
    ...trainers.map((kind, index) => ({
      kind,
      at:
        index < inPretrain
          ? spread(index, inPretrain, early, late)
          : spread(index - inPretrain, inTune, tune, tuneLate),
    })),
    ...atDeploy.map((kind) => ({
      kind,
      at: progressAt('deploy', 0),
      stage: 'deploy' as const,
    })),
  ]
    .map((kill) => ({ ...kill, pick: random() }))
    .toSorted((a, b) => a.at - b.at);
}

/**
 * The kill to make now, or null. A trainer is killed only when a checkpoint newer than at the last
 * such kill was committed: so each generation adds something, and the run goes forward. Trainer kills
 * that found no such moment fall to other kinds once training is over.
 */
export function chooseKill(
  remaining: readonly PlannedKill[],
  moment: Moment,
  lastTrainerKill: Moment['training'],
): { planned: PlannedKill; kind: KillKind } | null {
  const { progress, stage, training, trainingOver, alive } = moment;
  const own = remaining.find(
    (planned) => planned.stage !== undefined && planned.stage === stage && alive.has(planned.kind),
  );
  if (own !== undefined) return { planned: own, kind: own.kind };
  const newCheckpoint =
    training !== null &&
    training.durableStep > 0 &&
    (lastTrainerKill === null ||
      lastTrainerKill.phase !== training.phase ||
      training.durableStep > lastTrainerKill.durableStep);
  for (const planned of remaining) {
    if (planned.stage !== undefined) continue;
    if (isTrainer(planned.kind)) {
      if (trainingOver) {
        const others = killKinds.filter((kind) => !isTrainer(kind) && alive.has(kind));
        const kind = others[Math.floor(planned.pick * others.length)];
        if (kind !== undefined) return { planned, kind };
      } else if (planned.at <= progress && newCheckpoint && alive.has(planned.kind)) {
        return { planned, kind: planned.kind };
      }
    } else if (planned.at <= progress && alive.has(planned.kind)) {
      return { planned, kind: planned.kind };
    }
  }
  return null;
}

function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}
