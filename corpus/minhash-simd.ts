/**
 * The inner loop of MinHash, sixteen permutations at a time: for each the least hash over all shingles.
 * A few dozen WebAssembly instructions, put together here; integers only, so every machine gives the same.
 */

const type = { i32: 0x7f, v128: 0x7b } as const;
const op = {
  loop: 0x03,
  end: 0x0b,
  brIf: 0x0d,
  get: 0x20,
  set: 0x21,
  tee: 0x22,
  i32Const: 0x41,
  i32LessUnsigned: 0x49,
  i32Add: 0x6a,
  nothing: 0x40,
} as const;
const load = [0xfd, 0x00];
const load32Splat = [0xfd, 0x09];
const store = [0xfd, 0x0b];
const splat = [0xfd, 0x11];
const xor = [0xfd, 0x51];
const shiftRight = [0xfd, 0xad, 0x01];
const multiply = [0xfd, 0xb5, 0x01];
const leastOf = [0xfd, 0xb6, 0x01];

const vectorBytes = 16;
/** Vectors whose masks, factors and results stay in registers. */
const vectors = 4;
export const hashesAtOnce = vectors * 4;

/** Arguments of the function: addresses of the first shingle and of the end of the last, of 16 masks, factors and results. */
const local = { from: 0, to: 1, masks: 2, factors: 3, results: 4, shingle: 5, hash: 6 } as const;
const mask = (vector: number) => 7 + vector;
const factor = (vector: number) => 7 + vectors + vector;
const least = (vector: number) => 7 + 2 * vectors + vector;

const each = (code: (vector: number) => number[][]): number[] =>
  Array.from({ length: vectors }, (_, vector) => code(vector)).flat(2);
const at = (vector: number): number[] => [2, vector * vectorBytes];

const body = [
  each((vector) => [
    [op.get, local.masks, ...load, ...at(vector), op.set, mask(vector)],
    [op.get, local.factors, ...load, ...at(vector), op.set, factor(vector)],
    [op.i32Const, ...signed(0x7fffffff), ...splat, op.set, least(vector)],
  ]),
  [op.loop, op.nothing],
  [op.get, local.from, ...load32Splat, 2, 0, op.set, local.shingle],
  each((vector) => [
    [op.get, least(vector)],
    [op.get, local.shingle, op.get, mask(vector), ...xor],
    [op.get, factor(vector), ...multiply, op.tee, local.hash],
    [op.get, local.hash, op.i32Const, 15, ...shiftRight, ...xor],
    [...leastOf, op.set, least(vector)],
  ]),
  [op.get, local.from, op.i32Const, 4, op.i32Add, op.tee, local.from],
  [op.get, local.to, op.i32LessUnsigned, op.brIf, 0, op.end],
  each((vector) => [[op.get, local.results, op.get, least(vector), ...store, ...at(vector)]]),
  [op.end],
].flat();

const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const addresses = [type.i32, type.i32, type.i32, type.i32, type.i32];
const code = Uint8Array.from(
  [
    header,
    // One type, of five addresses to nothing; one function of it; one memory; both exported.
    section(1, [1, 0x60, addresses.length, ...addresses, 0]),
    section(3, [1, 0]),
    section(5, [1, 0, 1]),
    section(7, [2, ...name('run'), 0, 0, ...name('memory'), 2, 0]),
    section(10, [1, ...sized([1, 2 + 3 * vectors, type.v128, ...body])]),
  ].flat(),
);

function section(id: number, content: number[]): number[] {
  return [id, ...sized(content)];
}

function sized(content: number[]): number[] {
  return [...unsigned(content.length), ...content];
}

function name(text: string): number[] {
  return sized([...Buffer.from(text)]);
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}

/** The little of it that is needed here; TypeScript keeps its types with those of browsers. */
interface Engine {
  WebAssembly: {
    Module: new (code: Uint8Array) => object;
    Instance: new (module: object) => {
      exports: {
        run: (from: number, to: number, masks: number, factors: number, results: number) => void;
        memory: { buffer: ArrayBuffer; grow: (pages: number) => number };
      };
    };
  };
}
const { WebAssembly } = globalThis as unknown as Engine;
const { run, memory } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;

/** Masks of the family that lies in the memory, which all share. */
let loaded: Int32Array | null = null;

/** The permutations of one family, ready to be asked for the least hashes of many lists of shingles. */
export class LeastHashes {
  readonly #masks: Int32Array;
  readonly #factors: Int32Array;
  readonly #numHashes: number;
  readonly #shinglesAt: number;
  #numbers: Int32Array;

  /** As many masks as factors, a multiple of `hashesAtOnce`. */
  constructor(masks: Int32Array, factors: Int32Array) {
    this.#numHashes = masks.length;
    this.#shinglesAt = 3 * masks.length;
    this.#masks = masks;
    this.#factors = factors;
    this.#numbers = new Int32Array(memory.buffer);
  }

  /** Where to write so many shingles before `find`. */
  shingles(length: number): Int32Array {
    const needed = (this.#shinglesAt + length) * 4 - memory.buffer.byteLength;
    if (needed > 0) memory.grow(Math.ceil(needed / 0x10000));
    if (this.#numbers.buffer !== memory.buffer) this.#numbers = new Int32Array(memory.buffer);
    if (loaded !== this.#masks) {
      this.#numbers.set(this.#masks, 0);
      this.#numbers.set(this.#factors, this.#numHashes);
      loaded = this.#masks;
    }
    return this.#numbers.subarray(this.#shinglesAt, this.#shinglesAt + length);
  }

  /** The least hash by each permutation of the shingles written, at least one; overwritten by the next call. */
  find(length: number): Int32Array {
    const num = this.#numHashes;
    const from = this.#shinglesAt * 4;
    for (let hash = 0; hash < num; hash += hashesAtOnce)
      run(from, from + length * 4, hash * 4, (num + hash) * 4, (2 * num + hash) * 4);
    return this.#numbers.subarray(2 * num, 3 * num);
  }
}
