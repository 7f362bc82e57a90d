/** The mistakes of a pipeline file, worded for the operator who made them. */

const maxFaults = 50;

export interface PipelineFault {
  /** Both count from one; zero when the file as a whole is meant. */
  line: number;
  column: number;
  /** Dotted path such as `data.sources[0].license`; empty for the file as a whole. */
  field: string;
  found: string;
  expected: string;
  hint: string | null;
}

/** All faults of one file; its message is what an operator should read. */
export class PipelineFileError extends Error {
  readonly faults: PipelineFault[];
  constructor(file: string, faults: PipelineFault[]) {
    const shown = faults.slice(0, maxFaults).map((fault) => faultLine(file, fault));
    const more = faults.length - shown.length;
    if (more > 0) shown.push(`and ${more} more.`);
    const count = faults.length === 1 ? '' : `${faults.length} mistakes. `;
    super(`${shown.join('\n')}\n${count}Nothing was started.`);
    this.name = 'PipelineFileError';
    this.faults = faults;
  }
}

function faultLine(file: string, fault: PipelineFault): string {
  const place = fault.line === 0 ? file : `${file}:${fault.line}:${fault.column}`;
  const field = fault.field === '' ? '' : ` ${fault.field}`;
  const hint = fault.hint === null ? '' : ` ${fault.hint}`;
  return `${place}${field}: found ${fault.found}, expected ${fault.expected}.${hint}`;
}
