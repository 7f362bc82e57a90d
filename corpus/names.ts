/** Ids and sources of many documents in a row of bytes, where strings would take three times as much. */

import { Words } from './words-and-bytes.ts';

/** Id and source of a document. */
export type Name = [id: string, source: string];

/** Names as they travel between threads. */
export interface PackedNames {
  text: Uint8Array;
  /** Where each ends. */
  ends: Uint32Array;
}

export class Names {
  #text = Buffer.alloc(4096);
  readonly #ends = new Words(64);
  #length = 0;

  push(name: Name): void {
    // As JSON, which keeps every string as it is.
    this.#append(Buffer.from(JSON.stringify(name)));
  }

  /** Takes names one after the other. */
  append({ text, ends }: PackedNames): void {
    for (let at = 0; at < ends.length; at += 1)
      this.#append(text.subarray(at === 0 ? 0 : ends[at - 1]!, ends[at]!));
  }

  packed(): PackedNames {
    return {
      text: this.#text.subarray(0, this.#length),
      ends: this.#ends.all(),
    };
  }

  #append(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#text.length) {
      const wider = Buffer.alloc(Math.max(2 * this.#text.length, this.#length + bytes.length));
      wider.set(this.#text);
      this.#text = wider;
    }
    this.#text.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#ends.push(this.#length);
  }
}

/** A name by its number in the list. */
export function nameAt({ text, ends }: PackedNames, number: number): Name {
  const part = text.subarray(number === 0 ? 0 : ends[number - 1]!, ends[number]!);
  return JSON.parse(
    Buffer.from(part.buffer, part.byteOffset, part.length).toString('utf8'),
  ) as Name;
}
