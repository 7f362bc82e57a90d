/** What an operator sees of a run: one line a stage, and the notes that must stay visible. */
import {
  condition,
  log,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Phase } from '../config/recipe.ts';
import { modelAttribute, runAttribute, stageAttribute } from './search-attributes.ts';
import {
  describeWaiting,
  stageNames,
  type PipelineResult,
  type RunStatus,
  type StageName,
  type StageStatus,
} from './messages.ts';

/** Ends a stage: its value, its line, and whether an earlier run had made it. */
type Done = <T>(value: T, summary: string, reused: boolean) => Ended<T>;
interface Ended<T> {
  value: T;
  summary: string;
  reused: boolean;
}

const maxNotes = 200;

export class StageBoard {
  readonly status: RunStatus;
  /** The phase whose training may still be told something: not before it begins, nor while its result is exported. */
  training: Phase | null = null;
  /** Ids of the trials at work, where several rates are tried. */
  readonly trials = new Set<string>();
  /** How often something was added to the budget. */
  numAdded = 0;

  constructor(run: string, model: string) {
    this.status = {
      run,
      state: 'running',
      stages: stageNames.map((name) => ({
        name,
        state: 'waiting',
        startedAt: null,
        endedAt: null,
        summary: '',
      })),
      notes: [],
      recipe: null,
      result: null,
      failure: null,
    };
    upsertSearchAttributes([
      { key: runAttribute, value: run },
      { key: modelAttribute, value: model },
    ]);
  }

  /** Runs a stage and keeps its line. A stage that runs again, in another round, takes its line over. */
  async stage<T>(name: StageName, work: (done: Done) => Promise<Ended<T>>): Promise<T> {
    const { status } = this;
    if (status.paused !== undefined) await condition(() => status.paused === undefined);
    const line = this.#line(name);
    Object.assign(line, { state: 'running', startedAt: Date.now(), endedAt: null, summary: '' });
    upsertSearchAttributes([{ key: stageAttribute, value: name }]);
    this.#publish();
    try {
      const ended = await work((value, summary, reused) => ({ value, summary, reused }));
      line.state = ended.reused ? 'reused' : 'done';
      line.summary = ended.summary;
      log.info('stage ended', {
        run: this.status.run,
        stage: name,
        state: line.state,
        summary: ended.summary,
      });
      return ended.value;
    } catch (failure) {
      line.state = 'failed';
      throw failure;
    } finally {
      line.endedAt = Date.now();
      this.#publish();
    }
  }

  skip(name: StageName): void {
    this.#line(name).state = 'skipped';
  }

  /** Something that happened to the stage that runs now, or to the one that is named. */
  note(text: string, about?: StageName): void {
    const running = this.status.stages.findLast(({ state }) => state === 'running');
    this.status.notes.push({ at: Date.now(), stage: about ?? running?.name ?? 'ingest', text });
    if (this.status.notes.length > maxNotes) this.status.notes.shift();
    this.#publish();
  }

  finish(result: PipelineResult): void {
    this.status.state = 'finished';
    this.status.result = result;
    this.#publish();
  }

  fail(state: 'failed' | 'cancelled', message: string): void {
    this.status.state = state;
    this.status.failure = message;
    this.#publish();
  }

  /** What a stage has made so far, or what is left of it should it end here. */
  say(name: StageName, summary: string): void {
    this.#line(name).summary = summary;
    this.#publish();
  }

  /** Shows what changed on the status. */
  refresh(): void {
    this.#publish();
  }

  #line(name: StageName): StageStatus {
    return this.status.stages.find((stage) => stage.name === name)!;
  }

  /** The same story in the Temporal Web UI, as Markdown. */
  #publish(): void {
    const marks = {
      waiting: '·',
      running: '▶',
      done: '✓',
      reused: '↺',
      skipped: '–',
      failed: '✗',
    } as const;
    const lines = this.status.stages.map(
      ({ name, state, summary }) => `- ${marks[state]} **${name}** ${summary}`,
    );
    const waiting = describeWaiting(this.status).map(
      ({ stage, text }) => `- ‖ ${stage === null ? '' : `**${stage}** `}${text}`,
    );
    const notes = this.status.notes.slice(-10).map(({ stage, text }) => `- ! ${stage}: ${text}`);
    const failure =
      this.status.failure === null ? [] : [`**${this.status.state}:** ${this.status.failure}`];
    setCurrentDetails(
      [`### ${workflowInfo().workflowId}`, ...lines, ...waiting, ...notes, ...failure].join('\n'),
    );
  }
}
