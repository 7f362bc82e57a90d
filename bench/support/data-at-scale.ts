/** What preparing a corpus of terabytes would take, on paper: hours, objects, events and dollars from rates measured on small ones, and the bounds that it meets. */
import { groupSize } from '../../activities/preprocess-shuffle.ts';
import { shardBytes } from '../../corpus/chunk.ts';
import { maxActivities, maxInFlight, maxShuffleActivities } from '../../workflows/preprocess.ts';

/** Measured by `npm run bench -- preprocess` and from the records that it leaves, English. */
export interface DataRates {
  /** MB of text a second that one process reads into a dataset, and that one core takes through the workflow. */
  ingestMb: number;
  coreMb: number;
  /** Of a virtual core, an hour. */
  usdPerCoreHour: number;
}

const documentBytes = 4000;
const bytesPerToken = 4.85;
/** Stored bytes for each of text: as read and as cleaned, zstd. */
const storedShare = 0.38 + 0.37;
const fingerprintBytes = 287;
const bytesPerShardInManifest = 125;
/** In the activity that joins, for each document, measured by `npm run bench -- preprocess --part join`: nearly half may be duplicates. */
const joinBytes = 172;
/** What a data worker leaves of its 1 GB. */
const workerBytesLeft = 0.5e9;
const maxIngestS = 2 * 3600;
const maxActivityS = 30 * 60;
/** Measured: an activity and its share of the workflow's tasks, at 10,000 shards. */
const eventsPerActivity = 3.1;
/** Document shard; cleaned documents, fingerprints, dropped and record; training shard; tokens, index and record. */
const objectsPerShard = 9;
const s3 = { put: 5e-6, get: 0.4e-6, gbMonth: 0.023 };

export interface DataPlan {
  bytes: number;
  shards: number;
  documents: number;
  readHours: number;
  coreHours: number;
  /** At most so many cores work at once, and then it takes so long. */
  cores: number;
  hours: number;
  activities: number;
  events: number;
  shardsAnActivity: number;
  activityMinutes: number;
  objects: number;
  shuffleParts: number;
  manifestMb: number;
  joinGb: number;
  storedGb: number;
  usdCompute: number;
  usdRequests: number;
  usdMonth: number;
}

/** The preparation of so much text. */
export function planData(bytes: number, rates: DataRates): DataPlan {
  const shards = Math.ceil(bytes / shardBytes);
  const documents = bytes / documentBytes;
  const groups = shards <= groupSize ? 0 : Math.ceil(shards / groupSize);
  const shardsAnActivity = Math.ceil(shards / maxActivities);
  const shardS = shardBytes / 1e6 / rates.coreMb;
  const cleaning = Math.min(shards, maxActivities);
  const activities = 2 * cleaning + 2 * Math.min(groups, maxShuffleActivities) + 7;
  const cores = Math.min(shards, maxInFlight);
  const coreHours = bytes / 1e6 / rates.coreMb / 3600;
  const readHours = bytes / 1e6 / rates.ingestMb / 3600;
  const shuffleParts = groups ** 2;
  const objects = objectsPerShard * shards + shuffleParts + 2 * groups;
  const storedGb =
    (bytes * storedShare + documents * fingerprintBytes + (bytes / bytesPerToken) * 2) / 1e9;
  return {
    bytes,
    shards,
    documents,
    readHours,
    coreHours,
    cores,
    hours: readHours + coreHours / cores,
    activities,
    events: activities * eventsPerActivity,
    shardsAnActivity,
    activityMinutes: (shardsAnActivity * shardS) / 60,
    objects,
    shuffleParts,
    manifestMb: (shards * bytesPerShardInManifest) / 1e6,
    joinGb: (documents * joinBytes) / 1e9,
    storedGb,
    usdCompute: (readHours + coreHours) * rates.usdPerCoreHour,
    // What is written is read once, by the step behind it; a record is asked for before it is made as well.
    usdRequests: objects * (s3.put + 2 * s3.get),
    usdMonth: storedGb * s3.gbMonth,
  };
}

/** From which size of text on each bound is met, the first one first. */
export function dataBounds(rates: DataRates): { bytes: number; what: string }[] {
  const shardS = shardBytes / 1e6 / rates.coreMb;
  return [
    {
      bytes: (workerBytesLeft / joinBytes) * documentBytes,
      what: 'what is compared of documents that may be duplicates fills the 1 GB of the worker that joins them',
    },
    {
      bytes: maxIngestS * rates.ingestMb * 1e6,
      what: 'one process has read for the two hours that an ingest may take',
    },
    {
      bytes: (maxActivityS / shardS) * maxActivities * shardBytes,
      what: 'an activity reaches its 30 minutes; the next attempt goes on behind the shards that are done',
    },
    {
      bytes: Math.sqrt(1e6) * groupSize * shardBytes,
      what: 'the shuffle leaves a million parts, for each group of shards writes one to each bucket',
    },
    {
      bytes: (2 ** 29 / bytesPerShardInManifest) * shardBytes,
      what: 'the manifest of the dataset is longer than the longest string',
    },
  ].toSorted((a, b) => a.bytes - b.bytes);
}

const rows: [string, (plan: DataPlan) => string][] = [
  ['shards', ({ shards }) => grouped(shards)],
  ['documents', ({ documents }) => grouped(documents)],
  ['read by one process, h', ({ readHours }) => tenths(readHours)],
  ['cleaned, compared, encoded: hours of a core', ({ coreHours }) => tenths(coreHours)],
  ['cores that work at once, at most', ({ cores }) => grouped(cores)],
  ['workers of two cores, then', ({ cores }) => grouped(Math.ceil(cores / 2))],
  ['hours in all', ({ hours }) => tenths(hours)],
  ['activities', ({ activities }) => grouped(activities)],
  ['events of the history (bound 5,000)', ({ events }) => grouped(events)],
  [
    'shards an activity, minutes',
    (plan) => `${grouped(plan.shardsAnActivity)}, ${tenths(plan.activityMinutes)}`,
  ],
  ['objects of S3', ({ objects }) => grouped(objects)],
  ['  of them between the phases of the shuffle', ({ shuffleParts }) => grouped(shuffleParts)],
  ['manifest of the dataset, MB', ({ manifestMb }) => tenths(manifestMb)],
  ['memory of the activity that joins, GB', ({ joinGb }) => tenths(joinGb)],
  ['stored, GB', ({ storedGb }) => grouped(storedGb)],
  ['USD: computing', ({ usdCompute }) => tenths(usdCompute)],
  ['USD: requests to S3', ({ usdRequests }) => tenths(usdRequests)],
  ['USD a month: what is stored', ({ usdMonth }) => tenths(usdMonth)],
];

const sizes: [title: string, bytes: number][] = [
  ['10,000 shards', 10_000 * shardBytes],
  ['1 TB', 1e12],
  ['100 TB', 1e14],
];

/** The preparations that docs/scale.md sets side by side. */
export function dataOnPaper(rates: DataRates): [string, DataPlan][] {
  return sizes.map(([title, bytes]) => [title, planData(bytes, rates)]);
}

/** As a table of Markdown: a column for each size. */
export function renderData(plans: readonly [string, DataPlan][]): string[] {
  return [
    `| | ${plans.map(([title]) => title).join(' | ')} |`,
    `|---|${plans.map(() => '---:|').join('')}`,
    ...rows.map(
      ([name, of]) => `| ${name.trim()} | ${plans.map(([, plan]) => of(plan)).join(' | ')} |`,
    ),
  ];
}

/** What breaks first, as a list of Markdown. */
export function renderBounds(rates: DataRates): string[] {
  return dataBounds(rates).map(
    ({ bytes, what }, index) => `${index + 1}. **At ${size(bytes)} of text** ${what}.`,
  );
}

function size(bytes: number): string {
  return bytes < 1e12
    ? `${Number((bytes / 1e9).toPrecision(2))} GB`
    : `${Number((bytes / 1e12).toPrecision(2))} TB`;
}

function tenths(amount: number): string {
  return amount < 100 ? amount.toFixed(1) : grouped(amount);
}

function grouped(amount: number): string {
  return Math.round(amount).toLocaleString('en-US');
}
