/** The command line as a process, on the registry of a test. */
import path from 'node:path';
import { execa } from 'execa';
import type { TestS3 } from './s3.ts';

const main = path.resolve(import.meta.dirname, '../../client/cli/main.ts');

/** Runs `temper …` with the keys of this store; where no address is given, without Temporal. */
export function runCommand(
  s3: TestS3,
  args: readonly string[],
  { temporal = '127.0.0.1:1', cwd, env }: { temporal?: string; cwd?: string; env?: object } = {},
) {
  return execa(process.execPath, [main, ...args], {
    reject: false,
    ...(cwd !== undefined && { cwd }),
    env: {
      TEMPORAL_ADDRESS: temporal,
      TEMPER_S3_ENDPOINT: s3.endpoint,
      TEMPER_S3_BUCKET: s3.store.bucket,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      ...env,
    },
  });
}
