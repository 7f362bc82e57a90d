/**
 * What a run would leave out of documents, foreseen by cleaning and comparing them as it would: each text once, or of a
 * large corpus those texts that a hash of them draws. How often each text is there is counted, not estimated.
 */
import { nearOf, type Near } from '../config/deduplication.ts';
import type { Document } from '../config/manifests.ts';
import type { ForeseenDrops, JudgeOptions } from '../config/survey.ts';
import { cleanShard } from './clean-shard.ts';
import { findDuplicates, type Fingerprint } from './duplicates.ts';
import { IdSet } from './id-set.ts';
import { hashesOf } from './minhash.ts';
import { hashShare } from './order.ts';

/** Text that is cleaned to foresee; of more, a share, halved as often as it takes. */
const enoughBytes = 16 * 1024 * 1024;
/** Long documents are no fewer than these, for a share of few would tell nothing. */
const fewestDocuments = 200;
/** Documents that are cleaned at once. */
const together = 64;

interface Judged {
  id: string;
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
  readonly #seen = new IdSet();
  /** How often texts that are drawn came again. */
  readonly #repeats = new Map<string, { draw: number; count: number }>();
  #judged: Judged[] = [];
  #waiting: { document: Document; draw: number }[] = [];

  constructor(options: JudgeOptions, { enough = enoughBytes } = {}) {
    this.#options = options;
    this.#near = nearOf(options.deduplicate);
    this.#enoughBytes = enough;
  }

  add(document: Document): void {
    this.#numDocuments += 1;
    const isNew = this.#seen.add(document.id);
    const draw = hashShare('foresee', document.id);
    if (draw >= this.#share) return;
    if (!isNew) {
      const { count } = this.#repeats.get(document.id) ?? { count: 0 };
      this.#repeats.set(document.id, { draw, count: count + 1 });
      return;
    }
    this.#waiting.push({ document, draw });
    if (this.#waiting.length >= together) this.#judge();
  }

  result(): ForeseenDrops {
    this.#judge();
    const [dropped, repeated]: Record<string, number>[] = [{}, {}];
    const add = (counts: Record<string, number>, reason: string, count = 1): void => {
      if (count > 0) counts[reason] = (counts[reason] ?? 0) + count;
    };
    const prints: Fingerprint[] = [];
    const numDistinct = this.#seen.size;
    let unexplained = this.#numDocuments - numDistinct;
    for (const { id, outcome } of this.#judged) {
      if ('reason' in outcome) {
        const repeats = this.#repeats.get(id)?.count ?? 0;
        add(dropped!, outcome.reason);
        add(repeated!, outcome.reason, repeats);
        unexplained -= repeats;
      } else {
        prints.push(outcome.print);
      }
    }
    add(repeated!, 'duplicate_exact', unexplained);
    if (prints.length > 0)
      for (const { reason } of findDuplicates(prints, this.#near)) add(dropped!, reason);
    return {
      numDocuments: this.#numDocuments,
      numDistinct,
      numJudged: this.#judged.length,
      dropped: dropped!,
      repeated: repeated!,
    };
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
      this.#judged.push({ id: document.id, draw, bytes, outcome: outcomes.get(String(index))! });
    }
    while (this.#bytes > this.#enoughBytes && this.#judged.length > fewestDocuments) this.#halve();
  }

  #halve(): void {
    this.#share /= 2;
    this.#judged = this.#judged.filter(({ draw }) => draw < this.#share);
    for (const [id, { draw }] of this.#repeats) if (draw >= this.#share) this.#repeats.delete(id);
    this.#bytes = this.#judged.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
