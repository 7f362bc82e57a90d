/** How commands end when something is missing at the last moment, or the operator goes away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { requireStore } from '../../client/cli/context.ts';
import { holdingInterrupts, Interrupted, untilInterrupted } from '../../client/cli/interrupt.ts';
import { localKeysRefused, report } from '../../client/cli/output.ts';
import { nextLines, tryFor } from '../../client/cli/quickstart.ts';
import { newestRunning } from '../../client/cli/status.ts';
import { StoreRefused } from '../../registry/errors.ts';
import type { Store } from '../../registry/store.ts';

test('Ctrl-C while a stack starts ends the command with its sentence and 130', async () => {
  const ended = untilInterrupted('how things stand', () => sleep(5000));
  process.emit('SIGINT');
  const error: unknown = await ended.catch((found: unknown) => found);
  expect(error).toBeInstanceOf(Interrupted);
  expect(report(error, { json: false })).toBe(130);
});

test('what has to tidy up is not ended by Ctrl-C, however often, and hears of it once', async () => {
  let heard = 0;
  const before = process.listenerCount('SIGTERM');
  const done = await holdingInterrupts(
    () => (heard += 1),
    async (interrupted) => {
      process.emit('SIGINT');
      process.emit('SIGTERM');
      await sleep(10);
      return interrupted.aborted;
    },
  );
  expect([done, heard]).toEqual([true, 1]);
  expect(process.listenerCount('SIGTERM')).toBe(before);
});

test('a question is asked again while the node restarts, and given up with the reason', async () => {
  let asked = 0;
  const ask = async () => {
    asked += 1;
    if (asked < 3) throw new Error('restarting');
    return 'Lincoln';
  };
  expect(await tryFor(1000, 5, ask)).toEqual({ value: 'Lincoln', failure: null });
  const never = () => Promise.reject(new Error('restarting'));
  expect(await tryFor(20, 5, never)).toEqual({ value: null, failure: 'restarting' });
});

test('a rollback is proposed only where there is a version to go back to', () => {
  const result = { model: { name: 'sotu', version: 3, reused: false }, endpoint: 'sotu' };
  const text = (previous: number | null) => nextLines('r', result, previous, 'p.yaml').join('\n');
  expect(text(2)).toMatch(/npx temper models rollback sotu +serve version 2 again/);
  expect(text(null)).not.toContain('rollback');
  expect(text(null)).toMatch(/npx temper run p\.yaml +--seed 2 +a second version/);
});

test('without a name, the newest run at work is watched', () => {
  const at = (run: string, state: string, startedAt: number) => ({
    run,
    state,
    startedAt,
    stage: null,
    endedAt: null,
  });
  const runs = [at('a', 'running', 1), at('b', 'running', 2), at('c', 'finished', 3)];
  expect(newestRunning(runs)).toBe('b');
  expect(newestRunning([at('c', 'finished', 3)])).toBeUndefined();
});

test('a foreign store is tried out before a run, and its refusal ends with 3', async () => {
  const refuse = () => Promise.reject(new StoreRefused('The store let two writers win.'));
  const store = { probe: refuse } as unknown as Store;
  const foreign = { stack: null, env: { TEMPER_S3_BUCKET: 'x' }, store };
  const error: unknown = await requireStore(foreign).catch((found: unknown) => found);
  expect(error).toBeInstanceOf(StoreRefused);
  expect(report(error, {})).toBe(3);
  // Who names no store starts runs for workers that have one, and try it out themselves.
  await requireStore({ ...foreign, env: {} });
});

test('keys that the local stack refuses are named by their file, those of another by the variables', () => {
  const cause = Object.assign(new Error(), { $metadata: { httpStatusCode: 403 } });
  const refused = new StoreRefused('Check AWS_ACCESS_KEY_ID.', { cause });
  const env = { TEMPER_HOME: '/h' };
  expect(localKeysRefused(refused, env)).toMatch(
    /\/h\/secrets\.json.*`npx temper down` and `npx temper up`/,
  );
  expect(localKeysRefused(refused, { ...env, TEMPORAL_ADDRESS: 'x:7233' })).toBeNull();
  expect(localKeysRefused(new StoreRefused('it pretends'), env)).toBeNull();
});
