/** Event files, against bytes that TensorBoard's own writer made and checksums that were published. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import protobuf from 'protobufjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventFile } from '../../client/tensorboard/events.ts';
import { keepEventFile } from '../../client/tensorboard/folder.ts';
import { crc32c, frameRecord, maskedCrc32c } from '../../client/tensorboard/records.ts';
import type { TrainerEvent } from '../../config/trainer.ts';

const step = (number: number, more: object = {}): TrainerEvent => ({
  event: 'step',
  step: number,
  loss: 4 - number / 10,
  lr: 0.01,
  grad_norm: 0.5,
  tokens_per_second: 1000,
  num_tokens: number * 100,
  at: 1_700_000_000 + number,
  ...more,
});
const evaluated = (number: number): TrainerEvent => ({
  event: 'eval',
  step: number,
  val_loss: 3,
  val_bpb: 1.5,
  at: 1_700_000_000 + number,
});

/** Reads a file as the format is published: each frame's checksums, then the fields by their numbers. */
function readRecords(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(maskedCrc32c(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

function scalarsOf(bytes: Buffer): { step: number; values: Record<string, number> }[] {
  return readRecords(bytes).map((record) => {
    const reader = protobuf.Reader.create(record);
    let number = 0;
    const values: Record<string, number> = {};
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === 16) number = Number(reader.int64());
      else if (tag === 42) {
        const end = reader.uint32() + reader.pos;
        while (reader.pos < end) {
          reader.uint32();
          const valueEnd = reader.uint32() + reader.pos;
          let name = '';
          while (reader.pos < valueEnd) {
            if (reader.uint32() === 10) name = reader.string();
            else values[name] = reader.float();
          }
        }
      } else reader.skipType(tag & 7);
    }
    return { step: number, values };
  });
}

describe('the frame of a record', () => {
  test('has the checksums of RFC 3720, appendix B.4', () => {
    const sum = (bytes: readonly number[]) => crc32c(Uint8Array.from(bytes));
    const counting = Array.from({ length: 32 }, (_, index) => index);
    expect(sum(counting.map(() => 0))).toBe(0x8a9136aa);
    expect(sum(counting.map(() => 0xff))).toBe(0x62a8ab43);
    expect(sum(counting)).toBe(0x46dd794e);
    expect(sum(counting.toReversed())).toBe(0x113fdb5c);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  test('is that of records which TensorBoard 2.21 wrote: a first one, and a loss of 3.5 at step 7', () => {
    const version = '0900000040fc54d9411a0d627261696e2e4576656e743a32';
    expect(frameRecord(Buffer.from(version, 'hex')).toString('hex')).toBe(
      `1800000000000000a37f4b22${version}eced8f9d`,
    );
    const loss = '0900006040fc54d94110072a130a110a0a747261696e2f6c6f73731500006040';
    expect(frameRecord(Buffer.from(loss, 'hex')).toString('hex')).toBe(
      `200000000000000029eda950${loss}13f8f9f7`,
    );
    const told = eventFile([{ ...step(7), loss: 3.5, at: 1_700_000_001.5 } as TrainerEvent]);
    expect(readRecords(told).at(-1)!.toString('hex')).toContain('0900006040fc54d94110072a');
    expect(readRecords(told).at(-1)!.toString('hex')).toContain(
      '0a110a0a747261696e2f6c6f73731500006040',
    );
  });
});

describe('the events of a training', () => {
  test('give a value for each figure of each step, and one for each evaluation, in order', () => {
    const bytes = eventFile([
      step(1, { mfu: 0.4, memory: 1_000_000 }),
      step(3),
      evaluated(2),
      step(2),
      { event: 'start', step: 0, resumedFrom: null, at: 1 },
    ]);
    const [version, session, ...scalars] = scalarsOf(bytes);
    expect([version, session]).toEqual([
      { step: 0, values: {} },
      { step: 0, values: {} },
    ]);
    expect(scalars.map((one) => one.step)).toEqual([1, 2, 2, 3]);
    expect(scalars[0]!.values).toEqual({
      'train/loss': Math.fround(3.9),
      'train/learning_rate': Math.fround(0.01),
      'train/grad_norm': 0.5,
      'train/tokens': 100,
      'speed/tokens_per_second': 1000,
      'speed/mfu': Math.fround(0.4),
      'memory/bytes': 1_000_000,
    });
    expect(scalars[1]!.values).toEqual({ 'held_out/loss': 3, 'held_out/bits_per_byte': 1.5 });
  });

  test('are the same bytes each time, and those of a longer training begin with those of a shorter', () => {
    const events = [step(1), step(2), evaluated(2), step(3)];
    const whole = eventFile(events);
    expect(eventFile(events).equals(whole)).toBe(true);
    const part = eventFile(events.slice(0, 3));
    expect(whole.subarray(0, part.length).equals(part)).toBe(true);
    expect(eventFile([])).toHaveLength(0);
  });
});

describe('a folder that TensorBoard reads', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'temper-tensorboard-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const files = () => readdirSync(folder).toSorted();
  const only = () => readFileSync(path.join(folder, files()[0]!));

  test('is added to while the training goes on, also after a write that was cut short', async () => {
    const [one, two] = [eventFile([step(1)]), eventFile([step(1), step(2)])];
    expect(await keepEventFile(folder, one.subarray(0, one.length - 5))).toBe(one.length - 5);
    const [name] = files();
    expect(name).toBe('events.out.tfevents.1700000001.temper.000000');
    await keepEventFile(folder, one);
    expect(await keepEventFile(folder, two)).toBe(two.length - one.length);
    expect(await keepEventFile(folder, two)).toBe(0);
    expect(files()).toEqual([name]);
    expect(only().equals(two)).toBe(true);
  });

  test('gets another file when steps were taken back, which begins a session anew', async () => {
    await keepEventFile(folder, eventFile([step(1), step(2)]));
    const again = eventFile([step(1), step(2, { loss: 9 }), step(3)]);
    await keepEventFile(folder, again);
    const [before, after] = files();
    expect([before, after]).toEqual([
      'events.out.tfevents.1700000001.temper.000000',
      'events.out.tfevents.1700000001.temper.000001',
    ]);
    expect(readFileSync(path.join(folder, after!)).equals(again)).toBe(true);
    // Taken back, and nothing is trained again yet.
    await keepEventFile(folder, eventFile([step(1)]));
    expect(files()).toHaveLength(3);
    // Field 7, session_log, whose field 1 is START.
    expect(readRecords(again)[1]!.toString('hex')).toMatch(/3a020801$/);
  });

  test('stays as it is while nothing was told', async () => {
    expect(await keepEventFile(folder, Buffer.alloc(0))).toBe(0);
    expect(files()).toEqual([]);
  });
});
