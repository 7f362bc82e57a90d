/** The environment of every process, parsed once in its entry file. `temper up` sets it; clusters set it themselves. */
import { z } from 'zod';

/** An address that leads to this machine, or to what its host gives it alone. */
function isNear(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname } = new URL(address);
  return (
    protocol === 'http:' &&
    (/^(127|169\.254)(\.\d+){2,3}$/.test(hostname) ||
      /^\[(::1|fe[89ab][0-9a-f]:.*|fd00:ec2::254)\]$/.test(hostname))
  );
}

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
  TEMPER_LEAVING_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('the host leaves when this file is there; left out, `leaving` in TEMPER_HOME'),
  TEMPER_EC2_METADATA: z
    .string()
    .refine(isNear, 'expected http:// and a link-local or loopback address: http://169.254.169.254')
    .optional()
    .describe('instance metadata service to ask whether the host leaves; left out, none is asked'),
  TEMPER_SIGTERM: z
    .enum(['restart', 'leave'])
    .default('restart')
    .describe('what a SIGTERM to the gpu worker means: it is restarted, or its host goes'),
  TEMPER_LEAVING_S: z.coerce
    .number()
    .min(5)
    .max(3600)
    .default(120)
    .describe('seconds until the host goes, after a notice that names no time'),
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
