/** What people look at while a model trains, gathered from the trainer's events for the heartbeat. Nothing decides by it. */
import type { TrainerEvent, TrainingProgress } from '../config/trainer.ts';

/** Steps over which the pace is taken: long enough to hold a save or an evaluation. */
const numRecent = 50;

type Shown = Pick<
  TrainingProgress,
  | 'learningRate'
  | 'gradNorm'
  | 'mfu'
  | 'memoryBytes'
  | 'valLoss'
  | 'valBpb'
  | 'loss'
  | 'tokensPerSecond'
>;

export class Figures {
  #shown: Partial<Shown> = {};
  #recent: { step: number; at: number }[] = [];

  see(event: TrainerEvent): void {
    if (event.event === 'start' || event.event === 'paused') this.#recent = [];
    if (event.event === 'eval') {
      this.#shown = { ...this.#shown, valLoss: event.val_loss, valBpb: event.val_bpb };
    }
    if (event.event !== 'step') return;
    const memoryBytes = event.device_memory ?? event.memory;
    this.#shown = {
      ...this.#shown,
      loss: event.loss,
      tokensPerSecond: event.tokens_per_second,
      learningRate: event.lr,
      gradNorm: event.grad_norm,
      ...(event.mfu !== undefined && { mfu: event.mfu }),
      ...(memoryBytes !== undefined && { memoryBytes }),
    };
    this.#recent.push({ step: event.step, at: event.at });
    if (this.#recent.length > numRecent) this.#recent.shift();
  }

  /** For a training that ends at this step. */
  of(numSteps: number): Partial<TrainingProgress> {
    const [first, last] = [this.#recent[0], this.#recent.at(-1)];
    const steps = first === undefined ? 0 : last!.step - first.step;
    if (steps <= 0) return this.#shown;
    const msAStep = ((last!.at - first!.at) * 1000) / steps;
    return { ...this.#shown, leftMs: Math.round(msAStep * Math.max(0, numSteps - last!.step)) };
  }
}
