/** The thread that reads files nobody knows: what a parser does to it is done to it alone. */
import { parentPort } from 'node:worker_threads';
import type { ThreadReply, ThreadRequest } from './contained.ts';
import { openFile } from './open-file.ts';
import { readRecords } from './read.ts';
import { Account, type FileRecord } from './types.ts';

const batchRecords = 200;
const batchCharacters = 512 * 1024;

const port = parentPort;
if (port === null) throw new Error('thread.ts runs as a worker thread only');
const say = (reply: ThreadReply): void => port.postMessage(reply);
// Libraries warn of damaged files in words of their own; to read them there would keep the process alive.
for (const stream of [process.stdout, process.stderr]) stream.write = () => true;

let acknowledge: (() => void) | null = null;

port.on('message', (message: ThreadRequest | { kind: 'go-on' }) => {
  if ('kind' in message) {
    acknowledge?.();
    return;
  }
  read(message).then(
    () => say({ kind: 'end' }),
    (error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      say({ kind: 'failed', message: text });
    },
  );
});

async function read(request: ThreadRequest): Promise<void> {
  const opened = await openFile(request.file);
  const out = sender(request.skip);
  if (!('bytes' in opened)) {
    await out.put({ position: null, ...opened });
  } else {
    const { bytes, ended, close } = opened;
    try {
      if (bytes.size === 0) {
        await out.put({ position: null, reason: 'empty', detail: '0 bytes' });
      } else {
        const begun = new Map([['', 0]]);
        let current = '';
        const onLeaf = (inside: string) => {
          // Back in an archive whose member ended: its records began before that member.
          const isBack = inside.length < current.length && current.startsWith(inside);
          if (!isBack) begun.set(inside, out.passed());
          current = inside;
          say({ kind: 'leaf', inside, before: begun.get(inside) ?? 0 });
          return request.refused[inside] ?? null;
        };
        const { name, textField } = request;
        const reading = {
          textField,
          account: new Account(bytes.size),
          depth: 0,
          inside: '',
          onLeaf,
        };
        for await (const record of readRecords(name, bytes, reading)) await out.put(record);
        const change = await ended();
        if (change !== null) await out.put({ position: null, ...change });
      }
    } finally {
      await close();
    }
  }
  await out.send();
}

interface Sender {
  put: (record: FileRecord) => Promise<void>;
  send: () => Promise<void>;
  /** Records so far, with those that were passed over. */
  passed: () => number;
}

/** Hands records on in batches, and waits with the next until the last was taken. */
function sender(skip: number): Sender {
  let batch: FileRecord[] = [];
  let characters = 0;
  let passed = 0;
  const send = async (): Promise<void> => {
    if (batch.length === 0) return;
    const taken = new Promise<void>((resolve) => (acknowledge = resolve));
    say({ kind: 'records', records: batch });
    [batch, characters] = [[], 0];
    await taken;
  };
  return {
    send,
    passed: () => passed,
    async put(record) {
      if ((passed += 1) <= skip) return;
      batch.push(record);
      characters += 'text' in record ? record.text.length : record.detail.length;
      if (batch.length >= batchRecords || characters >= batchCharacters) await send();
    },
  };
}
