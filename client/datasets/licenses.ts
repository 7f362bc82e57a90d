/** Licences: which one a document is under, and how Hugging Face calls it. */
import type { DatasetManifest, Document } from '../../config/manifests.ts';

type Sources = DatasetManifest['sources'];

/** The licence that a document states itself, else that of the source it came from; null where neither is known. */
export function licenseOf(
  { source, metadata }: Pick<Document, 'source' | 'metadata'>,
  sources: Sources,
): string | null {
  const { license } = metadata;
  if (typeof license === 'string' && license !== '') return license;
  const all = new Set(sources.map((one) => one.license));
  if (all.size === 1) return [...all][0]!;
  const within = sources
    .filter(({ name }) => source === name || /^[/!#]/.test(after(source, name) ?? ''))
    .toSorted((a, b) => b.name.length - a.name.length)[0];
  return (within ?? sources.find(({ name }) => sameHost(name, source)))?.license ?? null;
}

function after(text: string, beginning: string): string | null {
  return text.startsWith(beginning) ? text.slice(beginning.length) : null;
}

/** Pages of a sitemap lie beside it, not under it. */
function sameHost(a: string, b: string): boolean {
  const [one, other] = [a, b].map((place) =>
    /^https?:/.test(place) ? URL.parse(place)?.host : undefined,
  );
  return one !== undefined && one === other;
}

/** Licences that the Hub knows by the lower-case form of their SPDX name. */
const known = new Set(
  `apache-2.0 mit bsd-2-clause bsd-3-clause isc mpl-2.0 unlicense zlib
  gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 agpl-3.0
  cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
  cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
  cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 odc-by pddl odbl`.split(/\s+/),
);
const otherNames: Record<string, string> = {
  'pddl-1.0': 'pddl',
  'odc-by-1.0': 'odc-by',
  'odbl-1.0': 'odbl',
};

/** The fields of a dataset's head on the Hub that say its licences; `other` where the Hub does not know one. */
export function hubLicense(licenses: readonly string[]): object {
  const names = [...new Set(licenses)].map((license) => {
    const lower = license.toLowerCase().replace(/-(only|or-later)$/, '');
    const name = otherNames[lower] ?? lower;
    return { license, name: known.has(name) ? name : null };
  });
  const [first, ...others] = names;
  if (first === undefined) return {};
  if (names.every(({ name }) => name !== null)) {
    return { license: others.length === 0 ? first.name : names.map(({ name }) => name) };
  }
  const slugs = names.map(({ license }) => license.toLowerCase().replaceAll(/[^a-z0-9.]+/g, '-'));
  return { license: 'other', license_name: slugs.join('-and-') };
}
