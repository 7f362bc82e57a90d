/** `temper doctor`: everything that a run needs, each with what was found and what to do. */
import { diagnose } from '../../infra/doctor.ts';
import { homeFolder } from '../../infra/layout.ts';
import { openContext, requireLocal, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { padEnd } from './text.ts';

export async function doctorCommand(options: CommonOptions): Promise<number> {
  const context = await openContext();
  requireLocal(context, 'doctor');
  const checks = await diagnose(homeFolder(process.env));
  const s3Answers = checks.some((check) => check.name.startsWith('S3') && check.ok);
  const store = s3Answers ? await probeStore(context.store) : null;
  const all = store === null ? checks : [...checks, store];
  if (options.json === true) printJson({ ok: all.every((check) => check.ok), checks: all });
  const paint = stdoutPaint();
  for (const { name, ok, found, expected, remedy } of all) {
    const mark = ok ? paint('green', '✓') : paint('red', '✗');
    say(options, `${mark} ${padEnd(name, 24)} ${found}`);
    if (!ok) say(options, `  ${' '.repeat(24)} expected ${expected}. ${remedy}`);
  }
  return all.every((check) => check.ok) ? ExitCode.ok : ExitCode.failed;
}

/** A store that ignores conditional writes would lose a run's commits: it is tried, not trusted. */
async function probeStore(store: { probe(): Promise<void> }) {
  const shared = { name: 'S3 conditional writes', expected: 'one winner of each race' };
  try {
    await store.probe();
    return { ...shared, ok: true, found: 'honoured, and checksums verified', remedy: '' };
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { ...shared, ok: false, found, remedy: 'Start the stack, or use another store.' };
  }
}
