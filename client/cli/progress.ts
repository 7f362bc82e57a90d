/** Shows a run while it goes: on a terminal it redraws its own lines, in a pipe it adds lines. */
import { describeWaiting } from '../../workflows/messages.ts';
import type { LiveStatus } from '../live-status.ts';
import { liveLines, settledLines } from './render-status.ts';

export interface Screen {
  isTTY: boolean;
  columns: number;
  colour: boolean;
  write(text: string): void;
}

export interface ProgressView {
  update(status: LiveStatus, now: number): void;
  /** Prints a line for good, above what is live. */
  note(line: string): void;
  /** Takes the live lines away, so that others may write below. */
  end(): void;
}

const pipeEveryMs = 10_000;

/** The screen behind a stream: colours only on a terminal, and never under NO_COLOR. */
export function screenOf(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Screen {
  const isTTY = stream.isTTY === true && env['TERM'] !== 'dumb';
  return {
    isTTY,
    get columns() {
      return isTTY ? (stream.columns ?? 80) : 110;
    },
    colour: isTTY && (env['NO_COLOR'] ?? '') === '',
    write: (text) => void stream.write(text),
  };
}

/** A view that prints what is settled once, and keeps what is live up to date. */
export function progressView(screen: Screen): ProgressView {
  const printed = new Set<string>();
  let drawn = 0;
  let lastLive = '';
  let lastPipeAt = 0;
  let lastPipeStage = '';

  const erase = () => {
    if (drawn > 0) screen.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
    lastLive = '';
  };

  return {
    update(status, now) {
      // One column stays free, because some terminals wrap a line that fills the last one.
      const { isTTY, colour } = screen;
      const options = { columns: screen.columns - 1, colour, now, brief: !isTTY };
      const fresh = settledLines(status, options).filter((line) => !printed.has(line.key));
      const live = liveLines(status, options);
      for (const { key } of fresh) printed.add(key);
      if (!screen.isTTY) {
        for (const { line } of fresh) screen.write(`${line}\n`);
        const running = status.stages.filter((stage) => stage.state === 'running');
        const waiting = describeWaiting(status);
        const stage = [
          ...running.map(({ name, startedAt }) => `${name} ${startedAt}`),
          ...waiting.map(({ text }) => text),
        ].join();
        // Who waits for a person waits for hours: that is said once.
        const again = waiting.length === 0 && now - lastPipeAt >= pipeEveryMs;
        const due = stage !== lastPipeStage || again;
        const numLines = running.length + waiting.filter((one) => one.stage === null).length;
        if (numLines === 0 || status.state !== 'running' || !due) return;
        lastPipeStage = stage;
        lastPipeAt = now;
        for (const line of live.slice(0, numLines)) screen.write(`${line}\n`);
        return;
      }
      const text = live.map((line) => `${line}\n`).join('');
      if (fresh.length === 0 && text === lastLive) return;
      erase();
      for (const { line } of fresh) screen.write(`${line}\n`);
      screen.write(text);
      drawn = live.length;
      lastLive = text;
    },
    note(line) {
      erase();
      screen.write(`${line}\n`);
    },
    end: erase,
  };
}
