/**
 * Carries what people ask of a run to its trainer, through control.json: looks in the store every two seconds, in
 * the background. A change of the learning rate needs a step that nobody has passed, else a trainer that is resumed
 * would compute other bits: the trainer is made to stand still, the step is committed in the head, then it goes on.
 */
import { log } from '@temporalio/activity';
import type { Head, RateChange, RunControl } from '../config/manifests.ts';
import type { TrainerEvent } from '../config/trainer.ts';
import { readRunControl } from '../registry/run-control.ts';
import { commitLearningRate } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { readControl, writeControl } from './trainer-files.ts';
import type { Generation } from './training-job.ts';

const everyMs = 2000;
/** They end a pause for certain; saving goes on during one. */
const moving: readonly string[] = ['start', 'step', 'eval', 'working'];

/** As a trainer reads them: one factor a step, the last that was decided. */
export function ratesOf(decided: Head['learningRates']): RateChange[] {
  const byStep = new Map(decided.map(({ step, scale }) => [step, scale]));
  return [...byStep].map(([step, scale]) => ({ step, scale })).toSorted((a, b) => a.step - b.step);
}

export class TrainerControl {
  readonly #deps: Deps;
  readonly #generation: Generation;
  readonly #runDir: string;
  #wish: RunControl | null;
  #decided: Head['learningRates'];
  #told: { paused: boolean; text: string };
  /** Step at which it said that it stands still; null since it moved again. */
  #stoppedAt: number | null = null;
  #lookedAt = performance.now();
  #looking = false;
  #deciding = false;
  #lost: Error | null = null;

  private constructor(
    deps: Deps,
    generation: Generation,
    runDir: string,
    known: { head: Head; wish: RunControl | null; paused: boolean },
  ) {
    this.#deps = deps;
    this.#generation = generation;
    this.#runDir = runDir;
    this.#wish = known.wish;
    this.#decided = known.head.learningRates;
    this.#told = { paused: known.paused, text: '' };
  }

  /** Waits for the store once, before there is a trainer to follow. */
  static async open(
    deps: Deps,
    generation: Generation,
    runDir: string,
    head: Head,
  ): Promise<TrainerControl> {
    const wish = await readRunControl(deps.store, generation.job.trial.run);
    const paused = (await readControl(runDir))?.paused ?? false;
    return new TrainerControl(deps, generation, runDir, { head, wish, paused });
  }

  see(event: TrainerEvent): void {
    if (event.event === 'paused') this.#stoppedAt = event.step;
    else if (moving.includes(event.event)) this.#stoppedAt = null;
  }

  /** It stands still, and will until it is told otherwise. */
  get isPaused(): boolean {
    return this.#told.paused && this.#stoppedAt !== null;
  }

  /** What was decided until now. */
  get decided(): Head['learningRates'] {
    return this.#decided;
  }

  /** The factor that is in force at a step; undefined where nobody has changed the rate. */
  scaleAt(step: number): number | undefined {
    return ratesOf(this.#decided).findLast((change) => change.step <= step)?.scale;
  }

  /** Throws when a newer generation has taken over. */
  throwIfLost(): void {
    if (this.#lost !== null) throw this.#lost;
  }

  /** Looks when it is time, and tells the trainer what has changed. */
  async obey(acknowledged: number[]): Promise<void> {
    this.#look();
    const pending = this.#pending();
    if (pending.length > 0 && this.isPaused) this.#decide(pending[0]!, this.#stoppedAt!);
    const wanted = (this.#wish?.paused ?? null) !== null || pending.length > 0;
    // Until one that was let go has moved, nobody can tell whether it has noticed.
    const paused = wanted && (this.#told.paused || this.#stoppedAt === null);
    const { fence } = this.#generation;
    const commands = { fence, acknowledged, paused, learningRates: ratesOf(this.#decided) };
    const text = JSON.stringify(commands);
    if (text === this.#told.text) return;
    await writeControl(this.#runDir, commands);
    this.#told = { paused, text };
  }

  /** Orders for this training that were not obeyed yet. */
  #pending(): RunControl['learningRates'] {
    const { phase, round } = this.#generation.job.trial;
    const done = new Set(this.#decided.map(({ order }) => order));
    return (this.#wish?.learningRates ?? []).filter(
      (wish) => wish.phase === phase && wish.round === round && !done.has(wish.order),
    );
  }

  #look(): void {
    const now = performance.now();
    if (this.#looking || now - this.#lookedAt < everyMs) return;
    this.#lookedAt = now;
    this.#looking = true;
    readRunControl(this.#deps.store, this.#generation.job.trial.run)
      .then((wish) => {
        this.#wish = wish;
      })
      .catch((error: unknown) => log.warn('what people ask of this run is not known', { error }))
      .finally(() => {
        this.#looking = false;
      });
  }

  #decide(wish: RunControl['learningRates'][number], step: number): void {
    if (this.#deciding) return;
    this.#deciding = true;
    const { order, scale, by, why, at } = wish;
    const { job, fence, writer } = this.#generation;
    const decision = { order, step, scale, by, why, at };
    commitLearningRate(this.#deps.store, job.trial, { fence, writer }, decision)
      .then((head) => {
        this.#decided = head.learningRates;
      })
      .catch((error: unknown) => {
        if ((error as Error).name === 'Fenced') this.#lost = error as Error;
        else log.warn('the learning rate is not changed yet', { error });
      })
      .finally(() => {
        this.#deciding = false;
      });
  }
}
