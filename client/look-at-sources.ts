/** A look at the sources of a pipeline file before anything is started, and what of them only the workers can read. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { nothingReadable } from '../config/dropped.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { sourceName, type Source } from '../config/sources.ts';
import type { Survey, SurveyRequest } from '../config/survey.ts';
import { ClientError } from './errors.ts';

export interface LookRequest {
  pipeline: Pipeline;
  baseDir: string;
  /** Folder that holds node_modules, for sources that are packages. */
  projectDir: string;
  /** Looks at a folder or a file, as ingest would read it. */
  look: (request: SurveyRequest) => Promise<Survey>;
}

/** That none of them holds text, with the reasons. */
export function nothingToRead(sources: readonly Source[], surveys: readonly Survey[]): ClientError {
  const unread: Record<string, number> = {};
  for (const { reason, count } of surveys.flatMap(({ notRead }) => notRead))
    unread[reason] = (unread[reason] ?? 0) + count;
  const numFiles = surveys.reduce((sum, survey) => sum + survey.numFiles, 0);
  const said = nothingReadable({ numFiles, names: sources.map(sourceName) }, unread);
  return new ClientError('input', `${said} Nothing was started.`);
}

/** Looks at each source in turn; throws where one can only be read by the workers. */
export async function lookAtSources({ pipeline, ...from }: LookRequest): Promise<Survey[]> {
  const surveys: Survey[] = [];
  for (const [index, source] of (pipeline.data.sources ?? []).entries())
    surveys.push(await lookAt(source, index, from));
  return surveys;
}

async function lookAt(
  source: Source,
  index: number,
  { baseDir, projectDir, look }: Omit<LookRequest, 'pipeline'>,
): Promise<Survey> {
  const name = sourceName(source);
  const field = `data.sources[${index}]`;
  if ('s3' in source || 'url' in source) {
    throw new ClientError(
      'input',
      `${field}: ${name} is read by the workers when the run begins; before that nothing is known to plan by. Start it: npx temper run.`,
    );
  }
  const folder =
    'package' in source
      ? path.join(projectDir, 'node_modules', source.package)
      : path.resolve(baseDir, name);
  if ((await stat(folder).catch(() => null)) === null) {
    throw new ClientError(
      'input',
      `${field}: found nothing at ${name}, expected text. Nothing was started.`,
    );
  }
  const { include, textField } = source;
  const git = 'git' in source && { git: true as const };
  return await look({ folder, name, ...git, include, textField }).catch((error: unknown) => {
    if (!(error instanceof ClientError) || error.kind !== 'input') throw error;
    const said = error.message.replace(/^data\.sources:/, `${field}:`);
    throw new ClientError('input', `${said} Nothing was started.`, error);
  });
}
