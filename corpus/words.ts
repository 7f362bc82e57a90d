/** The words of a text as 32-bit hashes of their lower-case letters, without making a string of each. */
import { lowerOf, wordClass } from './characters.ts';

export interface Words {
  hashes: Int32Array;
  /** UTF-16 units of each word. */
  lengths: Uint32Array;
  /** Words with at least one letter. */
  numAlphabetic: number;
}

/** Room for the words of one text after the other: whoever splits many of them takes no new memory for each. */
export class WordRoom {
  hashes = new Int32Array(0);
  lengths = new Uint32Array(0);

  /** At least so many words; what was there is lost. */
  reserve(length: number): void {
    if (length <= this.hashes.length) return;
    const size = Math.max(length, this.hashes.length * 2);
    this.hashes = new Int32Array(size);
    this.lengths = new Uint32Array(size);
  }
}

/**
 * Splits at everything that is neither letter nor digit; an apostrophe or hyphen inside a word stays part of it. In a room
 * that is given, the words of the next text take the place of these.
 */
export function wordsOf(text: string, room = new WordRoom()): Words {
  // A word of one letter and what parts it from the next take two units.
  room.reserve((text.length >>> 1) + 1);
  const { hashes, lengths } = room;
  let count = 0;
  let numAlphabetic = 0;
  for (let index = 0; index < text.length;) {
    if (wordClass[text.charCodeAt(index)] === 0) {
      index += 1;
      continue;
    }
    const start = index;
    let hash = 0x811c9dc5 | 0;
    let alphabetic = false;
    for (; index < text.length; index += 1) {
      const unit = text.charCodeAt(index);
      const kind = wordClass[unit]!;
      if (kind === 0) {
        const joins = unit === 0x27 || unit === 0x2019 || unit === 0x2d;
        if (!joins || index + 1 >= text.length || wordClass[text.charCodeAt(index + 1)] === 0)
          break;
      }
      if (kind === 1) alphabetic = true;
      hash = Math.imul(hash ^ lowerOf[unit]!, 0x01000193);
    }
    hashes[count] = mixed(hash);
    lengths[count] = index - start;
    count += 1;
    if (alphabetic) numAlphabetic += 1;
  }
  return { hashes: hashes.subarray(0, count), lengths: lengths.subarray(0, count), numAlphabetic };
}

/** The letters and digits of a text as hashes, one each: what shingles are made of where no space separates words. */
export function lettersOf(text: string): Int32Array {
  const hashes = new Int32Array(text.length);
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (wordClass[unit] === 0) continue;
    hashes[count] = mixed(lowerOf[unit]!);
    count += 1;
  }
  return hashes.subarray(0, count);
}

/** The last step of MurmurHash3: every bit of the input moves every bit of the output. */
export function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
