/** The environment of the programs that a worker starts: an allow-list, so that no credential of the worker reaches them. */

const passedOn = [
  'PATH',
  'HOME',
  'LANG',
  'LC_ALL',
  'TMPDIR',
  'LD_LIBRARY_PATH',
  'CUDA_VISIBLE_DEVICES',
  // By it the stack finds every process that it started.
  'TEMPER_STACK_HOME',
];

/** ONNX Runtime's Linux builds report to its makers unless they are told not to before they start; nothing may leave. */
export const noTelemetry = { ORT_DISABLE_TELEMETRY: '1' };

/** For `execa` and `spawn` with nothing else inherited. */
export function childEnvironment(own: Record<string, string> = {}): Record<string, string> {
  const inherited = passedOn.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...noTelemetry, ...own };
}
