/** Keeps the event file of a training in a folder that TensorBoard may be reading meanwhile. */
import { appendFile, mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

const filePattern = /^events\.out\.tfevents\.(\d+)\.temper\.(\d+)$/;

/**
 * Brings the folder to these bytes; returns how many it added. What is there already is added to, so that
 * a reader goes on from where it is; a write that was cut short is finished by the next. Where something was taken
 * back since, another file follows, at whose head TensorBoard forgets what it has read. The one before stays: a reader
 * whose file is gone would never go on to the next.
 */
export async function keepEventFile(folder: string, bytes: Buffer): Promise<number> {
  if (bytes.length === 0) return 0;
  await mkdir(folder, { recursive: true });
  const files = (await readdir(folder)).filter((name) => filePattern.test(name)).toSorted();
  const last = files.at(-1);
  if (last !== undefined) {
    const there = await readFile(path.join(folder, last));
    if (there.equals(bytes.subarray(0, there.length))) {
      await appendFile(path.join(folder, last), bytes.subarray(there.length));
      return bytes.length - there.length;
    }
  }
  const revision = last === undefined ? 0 : Number(filePattern.exec(last)![2]) + 1;
  // Ten digits of seconds and a number of six: the order of the names is that of the files.
  const seconds = String(Math.floor(firstTime(bytes))).padStart(10, '0');
  const name = `events.out.tfevents.${seconds}.temper.${String(revision).padStart(6, '0')}`;
  const aside = path.join(folder, `.${name}`);
  await writeFile(aside, bytes);
  await rename(aside, path.join(folder, name));
  return bytes.length;
}

/** The wall time of the first record: field 1, a double, behind the frame's twelve bytes and the field's tag. */
function firstTime(bytes: Buffer): number {
  return bytes.readDoubleLE(13);
}
