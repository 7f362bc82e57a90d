/**
 * Carries what people ask of a run to its trainer, through control.json: looks in the store every two seconds, in
 * the background. A change of the learning rate needs a step that nobody has passed, else a trainer that is resumed
 * would compute other bits: the trainer is made to stand still, the step is committed in the head, then it goes on.
 */
import { log } from '@temporalio/activity';
import type { Head, RunControl } from '../config/manifests.ts';
import type { Rollback, TrainerEvent } from '../config/trainer.ts';
import { readRunControl } from '../registry/run-control.ts';
import { rollbacksOf } from '../registry/rollbacks.ts';
import { commitLearningRate, isSameOrder, ratesOf } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { readControl, writeControl } from './trainer-files.ts';
import type { Generation } from './training-job.ts';

const everyMs = 2000;
/** They end a pause for certain; saving goes on during one. */
const moving: readonly string[] = ['start', 'step', 'eval', 'working'];

export class TrainerControl {
  readonly #deps: Deps;
  readonly #generation: Generation;
  readonly #runDir: string;
  #wish: RunControl | null;
  #decided: Head['learningRates'];
  readonly #rollbacks: Rollback[];
  /** `pause` is the number of the last pause that was asked of it, so that none is taken for an earlier one. */
  #told: { paused: boolean; pause: number; text: string };
  /** Where, and in which pause, it said that it stands still; null since it moved again. */
  #stopped: { step: number; pause?: number | undefined } | null = null;
  #step = 0;
  /** One that was resumed from before the newest checkpoint catches up first: its rates up to there are decided. */
  readonly #durableStep: number;
  #lookedAt = performance.now();
  #looking = false;
  #deciding = false;
  #lost: Error | null = null;
  /** It is to save and exit: the budget is spent. */
  stopping = false;
  /** When it is to do so by itself, should no watcher be there; Unix seconds. */
  stopAt: number | null = null;

  private constructor(
    deps: Deps,
    generation: Generation,
    runDir: string,
    known: { head: Head; wish: RunControl | null; paused: boolean; pause: number },
  ) {
    this.#deps = deps;
    this.#generation = generation;
    this.#runDir = runDir;
    this.#wish = known.wish;
    this.#decided = known.head.learningRates;
    this.#rollbacks = rollbacksOf(known.head.rollbacks);
    this.#durableStep = known.head.chain.at(-1)?.step ?? 0;
    this.#told = { paused: known.paused, pause: known.pause, text: '' };
  }

  /** Waits for the store once, before there is a trainer to follow. */
  static async open(
    deps: Deps,
    generation: Generation,
    runDir: string,
    head: Head,
  ): Promise<TrainerControl> {
    const { job, execution } = generation;
    const wish = await readRunControl(deps.store, job.trial.run, execution);
    const told = await readControl(runDir);
    const { paused, pause } = { paused: told?.paused ?? false, pause: told?.pause ?? 0 };
    return new TrainerControl(deps, generation, runDir, { head, wish, paused, pause });
  }

  see(event: TrainerEvent): void {
    if (event.event !== 'working') this.#step = event.step;
    if (event.event === 'paused') this.#stopped = { step: event.step, pause: event.pause };
    else if (moving.includes(event.event)) this.#stopped = null;
  }

  /** It stands still, and will until it is told otherwise. */
  get isPaused(): boolean {
    const { paused, pause } = this.#told;
    // One that echoes no number is taken at its word.
    return paused && this.#stopped !== null && (this.#stopped.pause ?? pause) === pause;
  }

  /** The factor that is in force at a step; undefined where nothing has changed the rate. */
  scaleAt(step: number): number | undefined {
    const ordered = ratesOf(this.#decided).findLast((change) => change.step <= step)?.scale;
    const left = this.#rollbacks.findLast((rollback) => rollback.step <= step)?.scale;
    return left === undefined ? ordered : left * (ordered ?? 1);
  }

  /** Throws when a newer generation has taken over. */
  throwIfLost(): void {
    if (this.#lost !== null) throw this.#lost;
  }

  /** Looks when it is time, and tells the trainer what has changed. */
  async obey(acknowledged: number[]): Promise<void> {
    this.#look();
    const pending = this.#pending();
    if (pending.length > 0 && this.isPaused) this.#decide(pending[0]!, this.#stopped!.step);
    const wanted = (this.#wish?.paused ?? null) !== null || pending.length > 0;
    // Until one that was let go and echoes no number has moved, nobody can tell whether it has noticed.
    const known = this.#stopped === null || this.#stopped.pause !== undefined;
    const paused = wanted && (this.#told.paused || known);
    const pause = paused && !this.#told.paused ? this.#told.pause + 1 : this.#told.pause;
    const { fence } = this.#generation;
    const commands = {
      fence,
      acknowledged,
      paused,
      pause,
      learningRates: ratesOf(this.#decided),
      ...(this.stopping && { stop: true }),
      ...(this.stopAt !== null && { stopAt: this.stopAt }),
    };
    const text = JSON.stringify(commands);
    if (text === this.#told.text) return;
    await writeControl(this.#runDir, commands);
    this.#told = { paused, pause, text };
  }

  /** Orders for this training that were not obeyed yet, and may be now. */
  #pending(): RunControl['learningRates'] {
    if (this.#step < this.#durableStep) return [];
    const { job, execution } = this.#generation;
    const { phase, round } = job.trial;
    return (this.#wish?.learningRates ?? []).filter(
      (wish) =>
        wish.phase === phase &&
        wish.round === round &&
        !this.#decided.some((decided) => isSameOrder(decided, { order: wish.order, execution })),
    );
  }

  #look(): void {
    const now = performance.now();
    if (this.#looking || now - this.#lookedAt < everyMs) return;
    this.#lookedAt = now;
    this.#looking = true;
    const { job, execution } = this.#generation;
    readRunControl(this.#deps.store, job.trial.run, execution)
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
    const { job, fence, writer, execution } = this.#generation;
    const decision = { order, ...(execution && { execution }), step, scale, by, why, at };
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
