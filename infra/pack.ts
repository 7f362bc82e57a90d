/**
 * Packs the typed client for others to install: JavaScript and types of `client/index.ts` and of what it
 * uses, nothing else of the project. Needs no network.
 *   npm run pack
 */
import {
  copyFileSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir } from './layout.ts';

const packageSchema = z.object({
  version: z.string(),
  license: z.string(),
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
});

/** Makes the package in a folder and packs it there; resolves with the tarball's path. */
export async function packClient(folder = path.join(projectDir, 'dist/client')): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  const lib = path.join(folder, 'package', 'lib');
  mkdirSync(lib, { recursive: true });
  const tsc = path.join(projectDir, 'node_modules/.bin/tsc');
  const config = path.join(projectDir, 'tsconfig.client.json');
  const built = await execa(tsc, ['-p', config, '--outDir', lib], { reject: false, all: true });
  if (built.failed) throw new Error(`pack: the client does not build.\n${built.all}`);

  const files = globSync('**/*.{js,d.ts}', { cwd: lib }).toSorted();
  for (const file of files.filter((name) => name.endsWith('.d.ts'))) {
    const place = path.join(lib, file);
    writeFileSync(place, withJsEndings(readFileSync(place, 'utf8')));
  }
  const own = packageSchema.parse(
    JSON.parse(readFileSync(path.join(projectDir, 'package.json'), 'utf8')),
  );
  const texts = files.map((file) => readFileSync(path.join(lib, file), 'utf8'));
  const manifest = manifestOf(own, packagesIn(texts));
  const root = path.join(folder, 'package');
  writeFileSync(path.join(root, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  copyFileSync(path.join(projectDir, 'client/README.md'), path.join(root, 'README.md'));
  copyFileSync(path.join(projectDir, 'LICENSE'), path.join(root, 'LICENSE'));

  const args = ['pack', '--ignore-scripts', '--offline', '--json', '--pack-destination', folder];
  const { stdout } = await execa('npm', args, { cwd: root, stdin: 'ignore' });
  const [packed] = z.tuple([z.object({ filename: z.string() })]).parse(JSON.parse(stdout));
  return path.join(folder, packed.filename);
}

/** The emitter leaves the endings of sources in declarations, where only some tools understand them. */
function withJsEndings(text: string): string {
  return text.replaceAll(/(\bfrom |\bimport\()(['"])(\.[^'"]+)\.ts\2/g, '$1$2$3.js$2');
}

/** Every npm package that the emitted files import, sorted. */
export function packagesIn(texts: readonly string[]): string[] {
  const imports = /(?:\bfrom\s*|\bimport\s*\(?\s*)['"]([\w@./:-]+)['"]/g;
  const names = texts
    .flatMap((text) => [...text.matchAll(imports)].map((match) => match[1]!))
    .filter((name) => !/^(\.|node:)/.test(name) && !builtinModules.includes(name))
    .map((name) =>
      name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/'),
    );
  return [...new Set(names)].toSorted();
}

function manifestOf(own: z.infer<typeof packageSchema>, packages: string[]) {
  const version = (name: string) => {
    const found = own.dependencies[name];
    if (found !== undefined) return found;
    throw new Error(
      `pack: the client imports ${name}, expected a package among the dependencies in package.json.`,
    );
  };
  return {
    name: 'temper-client',
    version: own.version,
    description: 'The typed client of Temper: start runs, follow them, and see to models.',
    license: own.license,
    type: 'module',
    engines: { node: '>=20.17' },
    sideEffects: false,
    exports: {
      '.': { types: './lib/client/index.d.ts', default: './lib/client/index.js' },
      './package.json': './package.json',
    },
    types: './lib/client/index.d.ts',
    files: ['lib'],
    dependencies: Object.fromEntries(packages.map((name) => [name, version(name)])),
    peerDependencies: { '@types/node': '>=20' },
    peerDependenciesMeta: { '@types/node': { optional: true } },
  };
}

if (realpathSync(process.argv[1] ?? '') === import.meta.filename) {
  const tarball = await packClient();
  process.stdout.write(`${path.relative(process.cwd(), tarball)}\n`);
}
