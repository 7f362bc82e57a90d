/** Which ids were met before, of millions: eight bytes of each, where a set of strings would take ten times as much. */

const fewestSlots = 1024;

/** Takes ids of at least 16 hexadecimal digits that are digests: their first bits say where they lie. */
export class IdSet {
  /** Two words for each slot; the second is 0 where it is free. */
  #slots = new Uint32Array(2 * fewestSlots);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Whether it is new. */
  add(id: string): boolean {
    const first = Number.parseInt(id.slice(0, 8), 16);
    const second = Number.parseInt(id.slice(8, 16), 16) || 1;
    if (!this.#put(first, second)) return false;
    this.#size += 1;
    if (4 * this.#size > this.#slots.length) this.#grow();
    return true;
  }

  #put(first: number, second: number): boolean {
    const slots = this.#slots;
    const last = slots.length / 2 - 1;
    for (let at = first & last; ; at = (at + 1) & last) {
      const [one, other] = [slots[2 * at]!, slots[2 * at + 1]!];
      if (one === first && other === second) return false;
      if (other !== 0) continue;
      slots[2 * at] = first;
      slots[2 * at + 1] = second;
      return true;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(2 * before.length);
    for (let at = 0; at < before.length; at += 2)
      if (before[at + 1] !== 0) this.#put(before[at]!, before[at + 1]!);
  }
}
