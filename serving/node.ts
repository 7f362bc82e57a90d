/** Entry file of a serving node. */
import pino from 'pino';
import { parseEnvironment } from '../config/environment.ts';
import { openStore } from '../registry/store.ts';
import { openKeyRing } from './keys.ts';
import { startServingNode } from './serving-node.ts';

const environment = parseEnvironment(process.env);
const log = pino({ level: environment.TEMPER_LOG_LEVEL, base: { process: 'serving' } });
const keyFile = environment.TEMPER_API_KEY_FILE;
if (keyFile === undefined) {
  throw new Error(
    'environment: TEMPER_API_KEY_FILE is not set, and no route but /health may be open. Start this process with `npx temper up`, or name a file with one key a line.',
  );
}
const store = openStore({
  endpoint: environment.TEMPER_S3_ENDPOINT,
  region: environment.TEMPER_S3_REGION,
  bucket: environment.TEMPER_S3_BUCKET,
  accessKeyId: environment.AWS_ACCESS_KEY_ID,
  secretAccessKey: environment.AWS_SECRET_ACCESS_KEY,
  // The node polls again anyway, and says so when the store is away.
  patienceMs: 3000,
});
const node = await startServingNode({
  store,
  home: environment.TEMPER_HOME,
  node: environment.TEMPER_HOST,
  keys: openKeyRing(keyFile, log),
  log,
  now: () => new Date(),
  port: environment.TEMPER_SERVING_PORT,
  only: environment.TEMPER_ENDPOINT ?? null,
});

let ending = false;
async function end(signal: string): Promise<void> {
  if (ending) return;
  ending = true;
  log.info({ signal }, 'ending');
  await node.close();
  store.close();
  process.exit(0);
}
process.on('SIGTERM', () => void end('SIGTERM'));
process.on('SIGINT', () => void end('SIGINT'));
