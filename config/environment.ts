/** The environment of every process, parsed once in its entry file. `temper up` sets it; clusters set it themselves. */
import { z } from 'zod';

const port = z.coerce.number().int().min(1).max(65535);

const environmentSchema = z.object({
  TEMPER_HOME: z
    .string()
    .min(1)
    .describe('folder for caches, run directories and, locally, the stack'),
  TEMPER_HOST: z
    .string()
    .min(1)
    .default('local')
    .describe('name of this host, stable over restarts'),
  TEMPER_GANG_ADDRESS: z
    .ipv4()
    .optional()
    .describe('of this host on the network of the runs; left out, it trains alone'),
  TEMPER_PYTHON: z.string().min(1).describe('Python interpreter with the trainer installed'),
  TEMPER_S3_ENDPOINT: z.url().optional().describe('leave out for AWS'),
  TEMPER_S3_REGION: z.string().default('us-east-1'),
  TEMPER_S3_BUCKET: z.string().min(3).default('temper'),
  AWS_ACCESS_KEY_ID: z.string().optional(),
  AWS_SECRET_ACCESS_KEY: z.string().optional(),
  TEMPER_DATA_KEY: z
    .string()
    .optional()
    .describe('data keys as id:base64, one a line: the first one seals, all of them open'),
  TEMPER_DATA_KEY_FILE: z.string().optional().describe('file with such lines'),
  TEMPER_API_KEY_FILE: z
    .string()
    .optional()
    .describe('file with one bearer key a line, for the serving node'),
  TEMPER_SERVING_PORT: port.default(8080),
  TEMPER_ENDPOINT: z
    .string()
    .optional()
    .describe('serve only this endpoint; left out serves every declared one'),
  TEMPER_STACK_HOME: z
    .string()
    .optional()
    .describe('set by `temper up` for its own processes; it has tried their store out'),
  TEMPER_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});
export type Environment = z.infer<typeof environmentSchema>;

/** Throws one sentence naming each wrong variable; values never appear in it, they may be secrets. */
export function parseEnvironment(env: Record<string, string | undefined>): Environment {
  const parsed = environmentSchema.safeParse(env);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')} (${issue.message})`);
  throw new Error(
    `environment: ${faults.join(', ')}. Start this process with \`npx temper up\` or set them.`,
  );
}
