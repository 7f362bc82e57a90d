/**
 * One generation on several hosts: all are leased or none is, they go on together or start anew from the same
 * checkpoint, and what one of them loses ends the generation for all. The first host leads: it alone commits.
 */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  continueAsNew,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { GangActivities, TrainerSeen } from '../activities/gang.ts';
import type { TrainActivities } from '../activities/train.ts';
import type { TrainerStart } from '../activities/trainer-start.ts';
import type { Generation, TrainedModel, TrainingJob } from '../activities/training-job.ts';
import { FailureType, PassingFailure } from '../config/failures.ts';
import type { Gpu, Machine } from '../config/recipe.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';
import { leasing } from './leave-host.ts';

/** On how many hosts a phase is trained. */
export interface GangWish {
  numHosts: number;
  /** Fewer will do when not all are to be had for a minute, though other bits are computed then. */
  elastic: boolean;
  /** For how many seconds all are waited for before fewer will do; left out, a minute. */
  patienceS?: number;
  /** One a GPU; left out, one. */
  ranksAHost?: number;
}

/** What each host must have, as a part of the request for it: the GPUs that are planned for, or the instruction set. */
export function hostWish({ recipe, machine }: Pick<TrainingJob, 'recipe' | 'machine'>): {
  gpu?: Gpu;
  instructionSet?: Machine['instructionSet'];
} {
  if (recipe.device !== 'cuda') return { instructionSet: machine.instructionSet };
  return machine.gpu === undefined ? {} : { gpu: machine.gpu };
}

/** Long enough for a host that is only being restarted. */
const elasticPatienceS = 60;
/** What one host loses all others lose: who knows why may say so later than who only notices. */
const verdictS = 10;

/**
 * Leases the hosts, those of the last generation first. Who cannot have all keeps none, and gives back what he had: two
 * runs that each held one host would wait for each other.
 */
export async function leaseGang<Input>(
  input: Input & { gang?: GangWish } & Pick<TrainingJob, 'recipe' | 'machine'> &
    Omit<TrainingJob['trial'], 'phase'>,
  before: string[],
  giveBack: () => Promise<void>,
): Promise<string[]> {
  const { numHosts, elastic, patienceS = elasticPatienceS, ranksAHost = 1 } = input.gang!;
  const { phase, batchSize, unwatchedExitS } = input.recipe;
  const smaller = Array.from({ length: numHosts - 1 }, (_, index) => numHosts - 1 - index);
  const sizes = smaller.filter((size) => batchSize % (size * ranksAHost) === 0);
  const { leaseHosts } = proxyActivities<GangActivities>({
    taskQueue: TaskQueue.control,
    ...leasing,
    summary: `lease ${numHosts} hosts for ${phase}`,
  });
  const { run, round, trial } = input;
  const ask = {
    holder: workflowInfo().workflowId,
    trial: { run, phase, round, trial },
    preferred: before,
    unwatchedExitS,
    ...hostWish(input),
  };
  for (let waitedS = 0, pauseS = 1; ; pauseS = Math.min(60, 2 * pauseS)) {
    const enough = elastic && waitedS >= patienceS ? sizes : [];
    const { hosts, living } = await leaseHosts({
      ...ask,
      sizes: [numHosts, ...enough],
      waitedS,
    });
    if (hosts.length > 0) {
      setCurrentDetails(`training on hosts ${hosts.join(', ')}`);
      return hosts;
    }
    await giveBack();
    const { gpu, instructionSet } = ask;
    const kind =
      gpu !== undefined
        ? ` with ${gpu.count} × ${gpu.name} each`
        : instructionSet === undefined || instructionSet === 'other'
          ? ''
          : ` with the instruction set ${instructionSet}`;
    setCurrentDetails(
      `waiting for ${numHosts} hosts${kind}: found ${living.length} (${living.join(', ') || 'none'}), some of which another ` +
        'training may have. Start a gpu worker with TEMPER_GANG_ADDRESS on more hosts',
    );
    await sleep(`${pauseS}s`);
    waitedS += pauseS;
    // Whoever waits for days must not be ended by the length of his history.
    if (workflowInfo().continueAsNewSuggested) {
      await continueAsNew<(input: Input) => Promise<TrainedModel>>(input);
    }
  }
}

/** Trains one generation on these hosts, the leading one first. */
export async function trainGang<Ended>(
  hosts: string[],
  generation: Generation,
  note: (text: string) => Promise<void>,
  watch: (host: string, watched: Generation & { start: TrainerStart }) => Promise<Ended>,
): Promise<Ended> {
  const { job, fence } = generation;
  const { phase } = job.trial;
  const [leading, ...others] = hosts as [string, ...string[]];
  const on = (host: string, what: string, startToCloseTimeout: '1m' | '10m' | '6h' | '30d') =>
    proxyActivities<TrainActivities & GangActivities>({
      taskQueue: gpuHostQueue(host),
      summary: `${phase} on ${host}: ${what}, generation ${fence}`,
      retry: { maximumAttempts: 1 },
      // A host that is being restarted answers soon; another takes the place of one that does not.
      scheduleToStartTimeout: '60s',
      startToCloseTimeout,
      heartbeatTimeout: '15s',
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    });
  const parted = job.recipe.parallelism === 'fsdp2';
  const { trial } = job;
  const seen = await Promise.all(
    hosts.map((host) =>
      // What is left of a parted checkpoint is brought to the store first.
      parted
        ? on(host, 'see what is left', '6h').seeTrainer({ trial, parted })
        : on(host, 'see what is left', '1m').seeTrainer({ trial }),
    ),
  );
  const start = await on(leading, 'adopt or start the trainer', '10m').prepareTrainer({
    ...generation,
    gang: { hosts, adopt: areTogether(seen) },
  });
  const { device, gpu } = job.machine;
  const ranksAHost = device === 'cuda' ? (gpu?.count ?? 1) : 1;
  const told = tellHosts(hosts, job.recipe.worldSize / ranksAHost);
  const notes = [start.note, told].filter((text) => text !== null);
  if (notes.length > 0) await note(notes.join('; '));
  const member = { ...generation, gang: { hosts, adopt: start.adopted } };
  if (seen[0]?.finished !== true) {
    await Promise.all(
      others.map((host) => on(host, 'adopt or start the trainer', '10m').prepareFollower(member)),
    );
  }
  const trained = watch(leading, { ...member, start });
  const followed = others.map((host) =>
    on(host, 'follow the leading host', '30d').watchFollower(member),
  );
  let ended: { model: Ended } | null = null;
  void trained.then(
    (model) => (ended = { model }),
    () => {},
  );
  const failures: unknown[] = [];
  const all = [trained, ...followed].map((watched: Promise<unknown>) =>
    watched.catch((failure: unknown) => void failures.push(failure)),
  );
  try {
    const model = await Promise.race([
      trained,
      ...followed.map((watched) => watched.then(() => trained)),
    ]);
    // The others end by themselves once the model counts.
    await Promise.race([Promise.all(all), sleep('30s')]);
    return model;
  } catch (failure) {
    if (isCancellation(failure)) {
      // The leading host saves: no other may fence it off meanwhile.
      await Promise.all(all);
      throw failure;
    }
    await Promise.race([Promise.all(all), sleep(`${verdictS}s`)]);
    // What another host loses at the very end takes nothing from a model that counts.
    if (ended !== null) return (ended as { model: Ended }).model;
    throw failures.toSorted((a, b) => weightOf(b) - weightOf(a))[0];
  }
}

/** Whether the trainers of the last meeting can be gone on with: one that misses another never trains on. */
function areTogether([leading, ...others]: TrainerSeen[]): boolean {
  if (leading === undefined || leading.finished) return true;
  // Alone by now, it needs nobody.
  if (others.length === 0) return true;
  const { meeting } = leading;
  return meeting !== null && others.every((other) => other.finished || other.meeting === meeting);
}

function tellHosts(hosts: string[], numPlanned: number): string | null {
  if (hosts.length === numPlanned) return null;
  return `trains on ${hosts.length} of ${numPlanned} hosts (${hosts.join(', ')}), so that it is not exact`;
}

/** Of what the hosts failed with, what says most: a verdict, then what the leading host decided, then a loss. */
function weightOf(failure: unknown): number {
  const cause = failure instanceof ActivityFailure ? failure.cause : undefined;
  if (!(cause instanceof ApplicationFailure) || cause.type === FailureType.Fenced) return 0;
  if (cause.nonRetryable) return 2;
  return (Object.values(PassingFailure) as (string | null | undefined)[]).includes(cause.type)
    ? 1
    : 0;
}
