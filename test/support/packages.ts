/** Puts installed packages, with all that they need, into another project: an installation there then needs no registry. */
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const projectDir = path.resolve(import.meta.dirname, '../..');

const names = z.record(z.string(), z.string()).default({});
const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      dependencies: names,
      optionalDependencies: names,
      peerDependencies: names,
      peerDependenciesMeta: z
        .record(z.string(), z.object({ optional: z.boolean().default(false) }))
        .default({}),
    }),
  ),
});

const binSchema = z.object({
  name: z.string(),
  bin: z.union([z.string(), z.record(z.string(), z.string())]).default({}),
});

/** Places below `node_modules` of these packages and of everything that they need, by the lockfile. */
function closureOf(packages: readonly string[]): string[] {
  const lock = lockSchema.parse(
    JSON.parse(readFileSync(path.join(projectDir, 'package-lock.json'), 'utf8')),
  ).packages;
  const found = new Set<string>();
  const visit = (name: string, from: string, optional: boolean): void => {
    for (
      let folder = from;
      ;
      folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))
    ) {
      const place = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
      const entry = lock[place];
      if (entry === undefined) {
        if (folder !== '') continue;
        if (optional) return;
        throw new Error(`${name}, which ${from} needs, is not in package-lock.json.`);
      }
      if (found.has(place) || (optional && !existsSync(path.join(projectDir, place)))) return;
      found.add(place);
      for (const next of Object.keys(entry.dependencies)) visit(next, place, false);
      for (const next of Object.keys(entry.optionalDependencies)) visit(next, place, true);
      for (const next of Object.keys(entry.peerDependencies)) {
        visit(next, place, entry.peerDependenciesMeta[next]?.optional === true);
      }
      return;
    }
  };
  for (const name of packages) visit(name, '', false);
  return [...found].toSorted();
}

/** Copies them into the `node_modules` of another project. */
export function copyPackages(packages: readonly string[], project: string): void {
  for (const place of closureOf(packages)) {
    const to = path.join(project, place);
    mkdirSync(path.dirname(to), { recursive: true });
    // What lies deeper is a place of its own.
    const inner = path.join(projectDir, place, 'node_modules');
    cpSync(path.join(projectDir, place), to, {
      recursive: true,
      filter: (source) => source !== inner,
    });
    linkPrograms(to);
  }
}

/** npm takes a package whose programs are not linked for one that is not whole. */
function linkPrograms(folder: string): void {
  const { name, bin } = binSchema.parse(
    JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')),
  );
  const programs = typeof bin === 'string' ? { [path.basename(name)]: bin } : bin;
  for (const [program, file] of Object.entries(programs)) {
    const modules = folder.slice(0, folder.lastIndexOf('/node_modules/') + '/node_modules'.length);
    const link = path.join(modules, '.bin', program);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.relative(path.dirname(link), path.join(folder, file)), link);
  }
}
