/**
 * What a run would leave out of documents, foreseen by cleaning and comparing them as it would: all of them, or of a large
 * corpus those that a hash of their text draws.
 */
import { nearOf, type Near } from '../config/deduplication.ts';
import type { Document } from '../config/manifests.ts';
import type { ForeseenDrops, JudgeOptions } from '../config/survey.ts';
import { cleanShard } from './clean-shard.ts';
import { findDuplicates, type Fingerprint } from './duplicates.ts';
import { hashesOf } from './minhash.ts';
import { hashShare } from './order.ts';

/** Text that is cleaned to foresee; of more, a share, halved as often as it takes. */
const enoughBytes = 16 * 1024 * 1024;
/** Long documents are no fewer than these, for a share of few would tell nothing. */
const fewestDocuments = 200;
/** Documents that are cleaned at once. */
const together = 64;

interface Judged {
  /** In [0, 1): it is drawn while this is under the share. */
  draw: number;
  bytes: number;
  /** Why it would be left out, else what it is compared by. */
  outcome: { reason: string } | { print: Fingerprint };
}

/** Takes documents one by one, in any order: the same ones are judged alike. */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #near: Near;
  readonly #enoughBytes: number;
  #share = 1;
  #numDocuments = 0;
  #bytes = 0;
  #judged: Judged[] = [];
  #waiting: { document: Document; draw: number }[] = [];

  constructor(options: JudgeOptions, { enough = enoughBytes } = {}) {
    this.#options = options;
    this.#near = nearOf(options.deduplicate);
    this.#enoughBytes = enough;
  }

  add(document: Document): void {
    this.#numDocuments += 1;
    const draw = hashShare('foresee', document.id);
    if (draw >= this.#share) return;
    this.#waiting.push({ document, draw });
    if (this.#waiting.length >= together) this.#judge();
  }

  result(): ForeseenDrops {
    this.#judge();
    const dropped: Record<string, number> = {};
    const drop = (reason: string): void => {
      dropped[reason] = (dropped[reason] ?? 0) + 1;
    };
    const prints: Fingerprint[] = [];
    for (const { outcome } of this.#judged) {
      if ('reason' in outcome) drop(outcome.reason);
      else prints.push(outcome.print);
    }
    if (prints.length > 0)
      for (const { reason } of findDuplicates(prints, this.#near)) drop(reason);
    return { numDocuments: this.#numDocuments, numJudged: this.#judged.length, dropped };
  }

  #judge(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    // Names and metadata decide nothing here.
    const raw = waiting.map(({ document: { text } }, index) => ({
      id: String(index),
      source: '',
      text,
      metadata: {},
    }));
    const { documents, contents, bands, sketches, dropped } = cleanShard(raw, this.#options);
    const [numBands, numHashes] = [this.#near.bands, hashesOf(this.#near)];
    const outcomes = new Map<string, Judged['outcome']>(
      dropped.map(({ id, reason }) => [id, { reason }]),
    );
    for (const [at, { id }] of documents.entries()) {
      const { document } = waiting[Number(id)]!;
      const print = {
        id: document.id,
        source: document.source,
        content: contents[at]!,
        bands: bands.slice(at * numBands * 2, (at + 1) * numBands * 2),
        sketch: sketches.slice(at * numHashes, (at + 1) * numHashes),
      };
      outcomes.set(id, { print });
    }
    for (const [index, { document, draw }] of waiting.entries()) {
      const bytes = Buffer.byteLength(document.text);
      this.#bytes += bytes;
      this.#judged.push({ draw, bytes, outcome: outcomes.get(String(index))! });
    }
    while (this.#bytes > this.#enoughBytes && this.#judged.length > fewestDocuments) this.#halve();
  }

  #halve(): void {
    this.#share /= 2;
    this.#judged = this.#judged.filter(({ draw }) => draw < this.#share);
    this.#bytes = this.#judged.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
