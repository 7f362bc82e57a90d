/**
 * The stored events of a training as TensorBoard's own: a pure function of them, so that the file of
 * a run is the same bytes whenever and wherever it is made, and only grows while the run does.
 */
import protobuf from 'protobufjs';
import type { TrainerEvent } from '../../config/trainer.ts';
import { frameRecord } from './records.ts';

/** What of tensorflow/core/util/event.proto and framework/summary.proto is written here. */
const schema = `
syntax = "proto3";
message Event {
  double wall_time = 1;
  int64 step = 2;
  oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
}
message Summary {
  message Value { string tag = 1; float simple_value = 2; }
  repeated Value value = 1;
}
message SessionLog {
  enum SessionStatus { STATUS_UNSPECIFIED = 0; START = 1; }
  SessionStatus status = 1;
}`;
const event = protobuf.parse(schema, { keepCase: true }).root.lookupType('Event');
const startStatus = 1;

type Values = Record<string, number | undefined>;

/** The whole event file of one training; nothing where no step was told yet. */
export function eventFile(events: readonly TrainerEvent[]): Buffer {
  const told = events
    .flatMap((one) => {
      const values = valuesOf(one);
      return values === null ? [] : [{ at: one.at, ...values }];
    })
    .toSorted((a, b) => a.step - b.step);
  const [first] = told;
  if (first === undefined) return Buffer.alloc(0);
  return Buffer.concat([
    record({ wall_time: first.at, file_version: 'brain.Event:2' }),
    // Whoever has read an older file of this training, from before a return, forgets it here.
    record({ wall_time: first.at, session_log: { status: startStatus } }),
    ...told.map(({ at, step, values }) =>
      record({
        wall_time: at,
        step,
        summary: {
          value: Object.entries(values).flatMap(([tag, simple_value]) =>
            simple_value === undefined ? [] : [{ tag, simple_value }],
          ),
        },
      }),
    ),
  ]);
}

/** Slashes make groups of charts. */
function valuesOf(one: TrainerEvent): { step: number; values: Values } | null {
  if (one.event === 'eval') {
    const values = { 'held_out/loss': one.val_loss, 'held_out/bits_per_byte': one.val_bpb };
    return { step: one.step, values };
  }
  if (one.event !== 'step') return null;
  return {
    step: one.step,
    values: {
      'train/loss': one.loss,
      'train/learning_rate': one.lr,
      'train/grad_norm': one.grad_norm,
      'train/tokens': one.num_tokens,
      'speed/tokens_per_second': one.tokens_per_second,
      'speed/mfu': one.mfu,
      'memory/bytes': one.memory,
      'memory/device_bytes': one.device_memory,
    },
  };
}

function record(value: object): Buffer {
  return frameRecord(event.encode(event.fromObject(value)).finish());
}
