/**
 * Reads a pipeline file and finds every mistake in it at once, each with its line, what was found and
 * what is allowed, so that a wrong file costs one round trip and starts nothing.
 */
import { open } from 'node:fs/promises';
import path from 'node:path';
import { pipelineSchema, type Pipeline } from '../config/pipeline.ts';
import { PipelineFileError, type PipelineFault } from './pipeline-fault.ts';
import { meaningFaults } from './pipeline-meaning.ts';
import { shapeFaults } from './pipeline-shape.ts';
import { readYaml, wholeFault } from './pipeline-yaml.ts';
import type { Placing } from './placed.ts';

const maxBytes = 256 * 1024;

export interface PipelineFile extends Placing {
  pipeline: Pipeline;
  /** Absolute path of the file. */
  file: string;
  /** Absolute folder that relative source paths start from. */
  baseDir: string;
}

/** Parses and resolves a pipeline file; throws PipelineFileError with all of its faults. */
export async function readPipelineFile(file: string): Promise<PipelineFile> {
  const absolute = path.resolve(file);
  const text = await readText(file);
  const baseDir = path.dirname(absolute);
  const pipeline = parsePipeline(text, { file, baseDir });
  return { pipeline, file: absolute, baseDir, ...placingIn(text, file) };
}

/** Where the keys of a pipeline file stand in its text. */
export function placingIn(text: string, file: string): Placing {
  return { placeOf: (keys) => ({ file, ...readYaml(text, file).place.at(keys) }) };
}

export interface PipelinePlaces {
  /** As faults name it. */
  file: string;
  /** Absolute folder that relative source paths start from. */
  baseDir: string;
  /** Folder whose `node_modules` holds the packages; left out, Temper's own. */
  projectDir?: string;
}

/** Like readPipelineFile for text that is already in memory. */
export function parsePipeline(text: string, at: PipelinePlaces): Pipeline {
  const { value, place, faults } = readYaml(text, at.file);
  const parsed = pipelineSchema.safeParse(value);
  const { baseDir, projectDir = path.dirname(import.meta.dirname) } = at;
  const meaning = meaningFaults(value, { baseDir, projectDir }, place);
  const shape = parsed.success ? [] : shapeFaults(parsed.error.issues, value, place);
  // Of one field, what it means explains more than its shape.
  const explained = new Set(meaning.map(({ field }) => field));
  faults.push(...shape.filter(({ field }) => !explained.has(field)), ...meaning);
  if (parsed.data === undefined || faults.length > 0) {
    throw new PipelineFileError(at.file, inOrder(faults));
  }
  return parsed.data;
}

async function readText(file: string): Promise<string> {
  const whole = (found: string, expected: string, hint: string | null = null) =>
    wholeFault(file, found, expected, hint);
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    const hint = 'Give the path of one, for example config/pipelines/quickstart.yaml.';
    throw error.code === 'ENOENT'
      ? whole('no such file', 'a pipeline file', hint)
      : whole(`a file that cannot be opened (${error.code})`, 'a readable pipeline file');
  });
  try {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw whole('a folder', 'a pipeline file');
    const buffer = Buffer.alloc(maxBytes + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > maxBytes) {
      throw whole(`more than ${maxBytes / 1024} KB`, `a pipeline file of at most that size`);
    }
    const bytes = buffer.subarray(0, bytesRead);
    if (bytes.includes(0)) throw whole('binary content', 'YAML text in UTF-8');
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw whole('bytes that are not UTF-8', 'YAML text in UTF-8');
    }
  } finally {
    await handle.close();
  }
}

function inOrder(faults: PipelineFault[]): PipelineFault[] {
  return faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
}
