/** Licences as repositories state them: SPDX headers, REUSE.toml, and the texts of LICENSE files. */

export const licenseFileName = /^(LICEN[CS]E|COPYING|UNLICENSE)([.-].*)?$/i;

/** The expression of a header `SPDX-License-Identifier`. */
export function spdxOf(text: string): string | null {
  const found = /SPDX-License-Identifier:[ \t]*([^\r\n]+)/.exec(text)?.[1];
  if (found === undefined) return null;
  const expression = /^\(?[\w.+-]+\)?( (AND|OR|WITH) \(?[\w.+-]+\)?)*/.exec(found.trim())?.[0];
  return expression ?? null;
}

/** Paths and licences of REUSE.toml; of several that match a file, the last counts. */
export function reuseAnnotations(toml: string): { paths: string[]; license: string }[] {
  return toml
    .split(/^\s*\[\[annotations\]\]\s*$/m)
    .slice(1)
    .flatMap((part) => {
      const license = /^\s*SPDX-License-Identifier\s*=\s*["']([^"']+)["']/m.exec(part)?.[1];
      const given = /^\s*path\s*=\s*(\[[^\]]*\]|["'][^"']+["'])/m.exec(part)?.[1] ?? '';
      const paths = Array.from(given.matchAll(/["']([^"']+)["']/g), ([, glob]) => glob!);
      return license === undefined || paths.length === 0 ? [] : [{ paths, license }];
    })
    .toReversed();
}

const texts: [RegExp, string][] = [
  [/Apache License[\s,]+Version 2\.0/i, 'Apache-2.0'],
  [/GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3/i, 'AGPL-3.0'],
  [/GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3/i, 'LGPL-3.0'],
  [/GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2\.1/i, 'LGPL-2.1'],
  [/GNU GENERAL PUBLIC LICENSE\s+Version 3/i, 'GPL-3.0'],
  [/GNU GENERAL PUBLIC LICENSE\s+Version 2/i, 'GPL-2.0'],
  [/Mozilla Public License,? (Version |v\. ?)2\.0/i, 'MPL-2.0'],
  [/Creative Commons (Legal Code\s+)?CC0 1\.0|CC0 1\.0 Universal/i, 'CC0-1.0'],
  [/Attribution-ShareAlike 4\.0 International/i, 'CC-BY-SA-4.0'],
  [/Attribution 4\.0 International/i, 'CC-BY-4.0'],
  [/This is free and unencumbered software released into the public domain/i, 'Unlicense'],
  [/Permission is hereby granted, free of charge, to any person obtaining a copy/i, 'MIT'],
  [
    /Permission to use, copy, modify, and(\/or)? distribute this software for any\s+purpose/i,
    'ISC',
  ],
  [/Redistribution and use in source and binary forms[^]*Neither the name/i, 'BSD-3-Clause'],
  [/Redistribution and use in source and binary forms/i, 'BSD-2-Clause'],
];

/** The licence whose text this is; null where it is none of the usual ones. */
export function knownLicense(text: string): string | null {
  const plain = text.replaceAll(/\s+/g, ' ');
  return spdxOf(text) ?? texts.find(([pattern]) => pattern.test(plain))?.[1] ?? null;
}
