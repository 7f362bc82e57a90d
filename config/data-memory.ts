/**
 * What the gigabyte of a data worker is spent on. What a step may hold is bounded here and not where it is held, so that one can
 * see that the sum fits; what nothing bounds was measured (`npm run bench -- preprocess --part size`).
 */
const megabyte = 1_000_000;

/** Of the whole process on two cores, however much text there is. Each further core takes another thread. */
export const mostBytes = 1000 * megabyte;

/** What activities may keep in memory, each by its own count. */
export const heldBytes = {
  /** What was just written, for the step that asks for it next. */
  recent: 48 * megabyte,
  /** Text that waits for its shard to be full, while documents are read. */
  waiting: 64 * megabyte,
  /** Lines about documents, which a split asks for twice. */
  lines: 32 * megabyte,
  /** Documents of a split, before they go to a file. */
  spilled: 64 * megabyte,
  /** Lines that are sorted at a time. */
  sorted: 32 * megabyte,
} as const;

/** What no count bounds, as it was measured on text of 20 to 300 MB. */
export const measuredBytes = {
  /** Code, Temporal's core, the store's client; the objects of the main thread, with their garbage. */
  program: 350 * megabyte,
  /** Of a thread: its objects, a shard packed and unpacked, the words that an encoder has met. */
  thread: 125 * megabyte,
  /** What only one thread has at a time: what a learning curve counts, or the fingerprints of a group of shards. */
  largestTask: 130 * megabyte,
} as const;

/**
 * In mebibytes, as V8 counts. Left to itself it lets the young objects of a thread grow to 192, and keeps the pages after: most of
 * what they hold is garbage, and a smaller space also stays in the processor's caches.
 */
export const semiSpaceMb = 8;
/** Of a thread: two such spaces, and as much again for large objects. */
export const youngGenerationMb = 3 * semiSpaceMb;
/** Of a thread. A shard needs a tenth of it; one of few, very long documents may need it all. */
export const oldGenerationMb = 320;

/** How node is started for a data worker: its main thread has young objects too. */
export const dataWorkerFlags = [`--max-semi-space-size=${semiSpaceMb}`] as const;
