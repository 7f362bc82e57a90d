/** What the streams of a PDF unpack to, counted before a library that has no bound unpacks them. */
import { createInflate } from 'node:zlib';
import type { Account } from './types.ts';

const headBytes = 2048;
const endMark = Buffer.from('endstream');
const startMark = Buffer.from('stream');
/** Streams packed in packed ones. */
const maxLayers = 4;

/** Throws where the streams of text and of objects unpack to a bomb. */
export async function countStreams(pdf: Buffer, account: Account): Promise<void> {
  for (let at = 0; ;) {
    const mark = pdf.indexOf(startMark, at);
    if (mark < 0) return;
    at = mark + startMark.length;
    const start = pdf[at] === 0x0d && pdf[at + 1] === 0x0a ? at + 2 : at + 1;
    // By its bytes, not by what its dictionary says of it: a name has many spellings.
    if (!isZlib(pdf, start)) continue;
    const end = pdf.indexOf(endMark, start);
    const packed = pdf.subarray(start, end < 0 ? undefined : end);
    at = start + packed.length + (end < 0 ? 0 : endMark.length);
    if (!isPicture(pdf, mark)) await countLayers(packed, account);
  }
}

/** A picture is never unpacked where only text is read, and a white page packs a thousandfold. */
function isPicture(pdf: Buffer, mark: number): boolean {
  const head = pdf.toString('latin1', Math.max(0, mark - headBytes), mark);
  return /\/Subtype\s*\/Image\b/.test(head.slice(head.lastIndexOf(' obj') + 1));
}

function isZlib(bytes: Buffer, start: number): boolean {
  const [method, flags] = [bytes[start] ?? 0, bytes[start + 1] ?? 0];
  return (method & 0x0f) === 8 && ((method << 8) | flags) % 31 === 0;
}

async function countLayers(packed: Buffer, account: Account): Promise<void> {
  for (let [layer, bytes] = [0, packed]; layer < maxLayers && isZlib(bytes, 0); layer += 1) {
    const head = await count(bytes, account);
    if (head === null) return;
    bytes = head;
  }
}

/** Counts what comes out, of one that is cut or damaged too; the first of it, where that is packed again. */
async function count(packed: Buffer, account: Account): Promise<Buffer | null> {
  const inflate = createInflate({ chunkSize: 256 * 1024 });
  const parts: Buffer[] = [];
  let again = false;
  let first = true;
  const ended = new Promise<boolean>((resolve, reject) => {
    inflate.on('data', (part: Buffer) => {
      try {
        account.add(part.length);
      } catch (error) {
        reject(error as Error);
        inflate.destroy();
        return;
      }
      if (first) again = isZlib(part, 0);
      first = false;
      if (again) parts.push(part);
    });
    inflate.on('end', () => resolve(true)).on('error', () => resolve(again));
  });
  inflate.end(packed);
  return (await ended) && again ? Buffer.concat(parts) : null;
}
