/**
 * One phase of training: lease a host, open a generation, train, release. Whatever is lost (a
 * worker, the trainer, the host) opens the next generation, which adopts a living trainer or resumes
 * from the newest committed checkpoint.
 */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  proxyActivities,
  TimeoutFailure,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { TrainActivities } from '../activities/train.ts';
import type { Generation, TrainedModel, TrainingJob } from '../activities/training-job.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';
import { runNoteSignal } from './messages.ts';

export type TrainingInput = Omit<TrainingJob, 'trial'> & {
  run: string;
  round: number;
  trial: number;
};

/** Generations in a row that may end without a new checkpoint before the run asks for help. */
const maxFruitlessGenerations = 8;

const control = proxyActivities<TrainActivities>({
  taskQueue: TaskQueue.control,
  startToCloseTimeout: '60s',
  retry: {
    nonRetryableErrorTypes,
    maximumAttempts: 120,
    initialInterval: '500ms',
    maximumInterval: '5s',
  },
});

export async function trainingWorkflow(input: TrainingInput): Promise<TrainedModel> {
  const { run, round, ...rest } = input;
  const trial = { run, phase: input.recipe.phase, round, trial: input.trial };
  const job: TrainingJob = { ...rest, trial };
  const { stage, model } = await control.findTrainedModel(job);
  if (model !== null) return model;

  const holder = workflowInfo().workflowId;
  const anyHost = proxyActivities<TrainActivities>({
    taskQueue: TaskQueue.gpu,
    summary: `lease a host for ${trial.phase}`,
    startToCloseTimeout: '20s',
    retry: { initialInterval: '500ms', maximumInterval: '5s' },
  });
  const { host } = await anyHost.leaseHost({ holder, unwatchedExitS: input.recipe.unwatchedExitS });

  try {
    let durableStep = 0;
    let fruitless = 0;
    let reason = '';
    while (fruitless < maxFruitlessGenerations) {
      const writer = uuid4();
      const generation = await control.openTrainingGeneration({ trial, writer });
      fruitless = generation.durableStep > durableStep ? 0 : fruitless + 1;
      durableStep = generation.durableStep;
      try {
        return await trainGeneration(host, { job, stage, fence: generation.fence, writer });
      } catch (failure) {
        if (isCancellation(failure)) throw failure;
        reason = explainLoss(failure);
        log.warn('generation lost', {
          run: trial.run,
          phase: trial.phase,
          fence: generation.fence,
          reason,
        });
        await note(`${reason}; generation ${generation.fence + 1} takes over`);
      }
    }
    throw ApplicationFailure.nonRetryable(
      `${trial.phase} made no checkpoint in ${maxFruitlessGenerations} generations, the last because ${reason}. ` +
        `Everything up to step ${durableStep} is safe: look at trainer.log on host ${host}, then start the run again.`,
      FailureType.TrainingDiverged,
    );
  } finally {
    await CancellationScope.nonCancellable(() => control.releaseHost({ host, holder }));
  }
}

async function trainGeneration(host: string, generation: Generation): Promise<TrainedModel> {
  const { phase } = generation.job.trial;
  const onHost = {
    taskQueue: gpuHostQueue(host),
    retry: { maximumAttempts: 1 },
    scheduleToStartTimeout: '5m',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  } as const;
  const { prepareTrainer } = proxyActivities<TrainActivities>({
    ...onHost,
    summary: `${phase}: adopt or start the trainer, generation ${generation.fence}`,
    startToCloseTimeout: '10m',
    heartbeatTimeout: '15s',
  });
  const { watchTrainer } = proxyActivities<TrainActivities>({
    ...onHost,
    summary: `${phase}: ${generation.job.recipe.numSteps} steps, generation ${generation.fence}`,
    startToCloseTimeout: '30d',
    heartbeatTimeout: '15s',
  });
  const start = await prepareTrainer(generation);
  if (start.note !== null) await note(start.note);
  return await watchTrainer({ ...generation, start });
}

/** Retryable losses become one sentence; what no retry can cure is thrown on. */
function explainLoss(failure: unknown): string {
  if (!(failure instanceof ActivityFailure)) throw failure;
  const { cause } = failure;
  if (cause instanceof ApplicationFailure) {
    const incurable = cause.nonRetryable || nonRetryableErrorTypes.includes(cause.type ?? '');
    if (incurable && cause.type !== FailureType.Fenced) throw failure;
    return cause.message;
  }
  if (cause instanceof TimeoutFailure)
    return `the gpu worker was lost (${cause.timeoutType} timeout)`;
  return cause?.message ?? failure.message;
}

async function note(text: string): Promise<void> {
  const { parent } = workflowInfo();
  if (parent) await getExternalWorkflowHandle(parent.workflowId).signal(runNoteSignal, { text });
}
