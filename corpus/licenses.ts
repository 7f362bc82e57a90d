/** Licences as repositories state them: SPDX headers, REUSE.toml, and the texts of LICENSE files. */
import { byCodeUnits } from './order.ts';

const code =
  /\.(c|cc|cpp|cs|css|csv|dart|ex|go|h|hpp|java|jsx?|json|kt|license|lua|[cm]?[jt]s|pdf|php|pl|png|py|r|rb|rs|scala|scss|sh|sql|svg|swift|toml|tsx?|vue|xml|ya?ml)$/i;
/** What lists the licences of others, which hold for what is theirs. */
const ofOthers = /3rd|third|vendor|bundle|dependenc|deps|notice/i;

/** Whether a file of that name states the licence of what stands beside and below it. */
export function isLicenseFile(name: string): boolean {
  return (
    /^(LICEN[CS]E|COPYING|UNLICENSE)([._-].*)?$/i.test(name) &&
    !code.test(name) &&
    !ofOthers.test(name)
  );
}

/** Lines that open a file and are comments in some language, or nothing. */
const comment =
  /^\s*($|\/\/|\/\*|\*|#|<[!#?%]|--|;|%|\(\*|\{[-#]|"|'|!|::|\.\.|=|REM\b|dnl\b|SPDX-|@echo\b|C\s)/i;
const blocks: [RegExp, RegExp][] = [
  [/^\s*\/\*/, /\*\//],
  [/^\s*<!--/, /-->/],
  [/^\s*(\{-|\(\*|\{#|<#)/, /(-\}|\*\)|#\}|#>)/],
  [/^\s*("""|''')/, /("""|''')\s*$/],
];
const markup = /\.(md|markdown|html?|xhtml|xml|svg|vue)$/i;

/** The expression of a header `SPDX-License-Identifier`, in the comments that the file of that name begins with. */
export function spdxOf(text: string, name = ''): string | null {
  const head = markup.test(name) ? markupComments(text) : comments(text);
  const found = /SPDX-License-Identifier:[ \t]*([^\r\n]+)/.exec(head)?.[1];
  if (found === undefined) return null;
  const said = found.replace(/\s*(\*\/|-->|-\}|\*\)).*$/, '').trim();
  return /^\(*[\w.+-]+\)*( (AND|OR|WITH) \(*[\w.+-]+\)*)*/.exec(said)?.[0] ?? null;
}

function comments(text: string): string {
  const head: string[] = [];
  let end: RegExp | null = null;
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const begun: RegExp | null = end ?? blocks.find(([begin]) => begin.test(line))?.[1] ?? null;
    if (begun === null && !comment.test(line)) break;
    head.push(line);
    const rest: string = end === null ? line.trimStart().slice(2) : line;
    end = begun === null || begun.test(rest) ? null : begun;
  }
  return head.join('\n');
}

/** In a page a line that looks like a comment is prose: only what is hidden from its readers counts. */
function markupComments(text: string): string {
  const beginning = /^\uFEFF?\s*(<\?xml[^>]*\?>\s*|<!doctype[^>]*>\s*)?(<!--[^]*?-->\s*)+/i.exec(
    text,
  );
  const front = /^\uFEFF?---\r?\n([^]*?)\r?\n---/.exec(text)?.[1] ?? '';
  return `${beginning?.[0] ?? ''}\n${front}`;
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

type Named = string | ((text: string, match: RegExpExecArray) => string);

/** How the texts of licences begin, behind their titles and the names of who holds the rights. */
const beginnings: [RegExp, Named][] = [
  [/^Apache License,? Version 2\.0/i, 'Apache-2.0'],
  [/^Licensed under the Apache License, Version 2\.0/i, 'Apache-2.0'],
  [/^GNU AFFERO GENERAL PUBLIC LICENSE,? Version 3/i, 'AGPL-3.0'],
  [/^GNU LESSER GENERAL PUBLIC LICENSE,? Version 3/i, 'LGPL-3.0'],
  [/^GNU LESSER GENERAL PUBLIC LICENSE,? Version 2\.1/i, 'LGPL-2.1'],
  [/^GNU LIBRARY GENERAL PUBLIC LICENSE,? Version 2/i, 'LGPL-2.0'],
  [/^GNU GENERAL PUBLIC LICENSE,? Version 3/i, 'GPL-3.0'],
  [/^GNU GENERAL PUBLIC LICENSE,? Version 2/i, 'GPL-2.0'],
  [/^Mozilla Public License,? (Version |v\. ?)?2\.0/i, 'MPL-2.0'],
  [/^Eclipse Public License -? ?v(?:ersion)? ?2\.0/i, 'EPL-2.0'],
  [/^Boost Software License -? ?Version 1\.0/i, 'BSL-1.0'],
  [/^SIL OPEN FONT LICENSE,? Version 1\.1/i, 'OFL-1.1'],
  [/^(Creative Commons (Legal Code )?)?CC0 1\.0/i, 'CC0-1.0'],
  [
    /^(?:Creative Commons )?Attribution(-NonCommercial)?(-ShareAlike|-NoDerivatives)? ([34]\.0) (?:International|Unported)/i,
    (_, [, commercial = '', same = '', version = '']) => {
      const more = /share/i.test(same) ? '-SA' : same === '' ? '' : '-ND';
      return `CC-BY${commercial === '' ? '' : '-NC'}${more}-${version}`;
    },
  ],
  [/^This is free and unencumbered software released into the public domain/i, 'Unlicense'],
  [
    /^Permission is hereby granted, free of charge, to any person obtaining a copy/i,
    (text) => {
      if (/shall be used for Good, not Evil/i.test(text)) return 'JSON';
      return /furnished to do so\. THE SOFTWARE/i.test(text) ? 'MIT-0' : 'MIT';
    },
  ],
  [
    /^Permission to use, copy, modify, and(\/or)? distribute this software for any purpose with or without fee is hereby granted/i,
    // The one asks that its notice be kept, the other nothing.
    (text, [granted]) => (/^, provided/i.test(text.slice(granted.length)) ? 'ISC' : '0BSD'),
  ],
  [/^This software is provided ['‘"]as-is['’"], without any express or implied warranty/i, 'Zlib'],
  [
    /^Redistribution and use in source and binary forms/i,
    (text) => {
      const terms = text.slice(0, 3000);
      if (/All advertising materials/i.test(terms)) return 'BSD-4-Clause';
      return /Neither the names? /i.test(terms) ? 'BSD-3-Clause' : 'BSD-2-Clause';
    },
  ],
];

/** Lines that may stand before the text of a licence: its title, and who holds which rights since when. */
const title =
  /^\(?(this is )?(the |a |an |new |modified |simplified |\d-clause )*(mit|expat|x11|isc|0bsd|bsd|zero[- ]clause bsd|zlib|unlicense|boost|[a-z-]* ?public domain)\b.{0,60}$/i;
const terms = /proprietary|confidential|licen[cs]e|permission|prohibited|forbidden|may not/i;
const holder = /copyright|©|\(c\)|all rights reserved|^https?:\/\/\S+$|^by /i;

const maxLines = 100;
const maxPreambleLines = 20;
const maxPreamble = 1500;
/** In a preamble: what takes something away from the licence behind it, or says that it is of a part alone. */
const restricting =
  /proprietary|confidential|prohibited|forbidden|\b(may|must|shall|will|do|does|is|are|can) ?not\b|non-?commercial|commons clause|\bconditions?\b|\bonly\b|\bdual\b|at your option|business source|change licen[cs]e|\bportions?\b|third[- ]part|\b(includes|included|contains|bundles|bundled|uses|used)\b|\bpermission\b|\bpurchas|\bcommercial|\bsubscri/i;
const wholly = /\blicen[cs]e applies to all parts\b/i;
const ofTerms = /licen[cs]|agreement|\bterms\b|\bEULA\b/i;
/** How people write of licences whose identifiers begin with these. */
const spelled: Readonly<Record<string, string>> = {
  AGPL: 'AGPL|Affero',
  BSL: 'Boost',
  CC: 'CC|Creative Commons',
  CC0: 'CC0',
  EPL: 'EPL|Eclipse',
  GPL: 'GPL|GNU General',
  LGPL: 'LGPL|GNU (Lesser|Library)',
  MPL: 'MPL|Mozilla',
  OFL: 'OFL|Open Font',
};

/** Whether what stands before the text of a licence leaves it whole; where it speaks of licences, it must be of that one. */
function leavesWhole(preamble: readonly string[], license: string): boolean {
  const said = preamble.join(' ');
  if (preamble.length > maxPreambleLines || said.length > maxPreamble) return false;
  // Words of other scripts may take away what these do.
  if (restricting.test(said) || /(?!\p{Script=Latin})\p{L}/u.test(said)) return false;
  const word = license.split('-')[0]!;
  return (
    !ofTerms.test(said) ||
    wholly.test(said) ||
    new RegExp(`\\b(${spelled[word] ?? word})\\b`, 'i').test(said)
  );
}

/** The licence whose text this is, whatever is added behind it; null where it is none of the usual ones. */
export function knownLicense(text: string): string | null {
  const stated = spdxOf(text);
  if (stated !== null) return stated;
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.replaceAll(/[#*=_`>~-]{2,}|^[\s#*>/;-]+|[*_`]+/g, ' ').trim())
    .filter((line) => line !== '');
  const preamble: string[] = [];
  for (const [index, line] of lines.slice(0, maxLines).entries()) {
    const rest = lines
      .slice(index, index + maxLines * 4)
      .join(' ')
      .replaceAll(/\s+/g, ' ')
      .slice(0, 8192);
    for (const [pattern, named] of beginnings) {
      const match = pattern.exec(rest);
      if (match === null) continue;
      const license = typeof named === 'string' ? named : named(rest, match);
      return leavesWhole(preamble, license) ? license : null;
    }
    const isTitle = line.length <= 80 && title.test(line);
    const isHolder = line.length <= 200 && holder.test(line) && !terms.test(line);
    if (!isTitle && !isHolder) preamble.push(line);
    if (preamble.length > maxPreambleLines) return null;
  }
  return null;
}

export interface StatedLicense {
  /** Its path in the repository. */
  file: string;
  text: string;
}

/** The licence that files of one folder state together; null where there is none. */
export function licenseOfFolder(files: readonly StatedLicense[]): string | null {
  const found = files.map(({ file, text }) => {
    const license = knownLicense(text);
    return { file, text, license: license ?? referenceTo(file), isKnown: license !== null };
  });
  const isLesser = found.some(({ license }) => license.startsWith('LGPL-'));
  const lesser = found.some(({ file }) => /\.LESSER/i.test(file));
  const counted = found.filter(({ license }) => {
    // The lesser licence is the other one with more allowed.
    if (!isLesser || !license.startsWith('GPL-')) return true;
    return !lesser && !found.some((one) => one.license === `L${license}`);
  });
  // A choice is offered where each file is named for its licence; else all of them hold.
  const offered = counted.filter(isNamedFor);
  const others = counted.filter(
    (one) => !offered.includes(one) && !(offered.length > 1 && !one.isKnown && pointsOn(one.text)),
  );
  const choice = distinct(offered.map(({ license }) => license)).join(' OR ');
  const terms = distinct([...others.map(({ license }) => license), choice].filter(Boolean));
  if (terms.length === 0) return null;
  const grouped = terms.map((term) => (terms.length > 1 && / OR /.test(term) ? `(${term})` : term));
  return grouped.join(' AND ');
}

function distinct(some: readonly string[]): string[] {
  return [...new Set(some)].toSorted(byCodeUnits);
}

/** Whether `LICENSE-MIT` holds what its name says. */
function isNamedFor({ file, license }: { file: string; license: string }): boolean {
  const name = file.slice(file.lastIndexOf('/') + 1).toLowerCase();
  if (name.startsWith('unlicense')) return license === 'Unlicense';
  const said = name.replace(/^(licen[cs]e|copying)[._-]?/, '').replace(/\.(txt|md|rst|html?)$/, '');
  const word = license.toLowerCase().split('-')[0]!;
  return said !== '' && (said.startsWith(word) || (word === 'lgpl' && said.startsWith('lesser')));
}

/** A text that leads to those beside it and says nothing else. */
function pointsOn(text: string): boolean {
  return text.length < 1500 && /\b(dual[- ]licen[cs]ed|at your option|either)\b/i.test(text);
}

/** How SPDX names a licence that it does not list. */
function referenceTo(file: string): string {
  return `LicenseRef-${file.replaceAll(/[^A-Za-z0-9.-]+/g, '-')}`;
}
