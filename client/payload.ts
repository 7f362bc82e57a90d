/** The bound on what is handed to a workflow: its history keeps every byte of it. */
import { ClientError } from './errors.ts';

const maxPayloadBytes = 64 * 1024;

/** Throws when the input of a workflow is larger than a history should hold. */
export function requireSmall(name: string, input: unknown): void {
  const bytes = Buffer.byteLength(JSON.stringify(input));
  if (bytes <= maxPayloadBytes) return;
  throw new ClientError(
    'input',
    `pipeline ${name}: found ${Math.ceil(bytes / 1024)} KB of configuration, expected at most ` +
      `${maxPayloadBytes / 1024} KB. Shorten its questions. Nothing was started.`,
  );
}
