import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openWorkTree } from '../../corpus/git.ts';
import { knownLicense, licenseOfFolder, spdxOf } from '../../corpus/licenses.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-licences-'));
  const tree = path.join(folder, 'tree');
  await mkdir(path.join(tree, 'sub'), { recursive: true });
  await writeFile(path.join(folder, 'outside'), 'SPDX-License-Identifier: MIT');
  await symlink('../outside', path.join(tree, 'LICENSE'));
  await writeFile(path.join(tree, 'a.txt'), 'a');
  await writeFile(path.join(tree, 'sub/LICENSE'), 'SPDX-License-Identifier: ISC');
  await writeFile(path.join(tree, 'sub/b.txt'), 'b');
  execFileSync('git', ['-C', tree, 'init', '-q']);
  execFileSync('git', ['-C', tree, 'add', '.']);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a licence is read from the tree alone, and once for the records of a file', async () => {
  const { licenseOf } = await openWorkTree(path.join(folder, 'tree'), '**/*.txt');
  // A link out of the tree says nothing of it, and no other licence either.
  expect(await licenseOf('a.txt')).toBe('LicenseRef-LICENSE');
  expect(await licenseOf('sub/b.txt')).toBe('ISC');
  await writeFile(path.join(folder, 'tree/sub/b.txt'), 'SPDX-License-Identifier: 0BSD');
  expect(await licenseOf('sub/b.txt')).toBe('ISC');
});

const mit = (more = '') =>
  `The MIT License (MIT)\n\nCopyright (c) 2020 A & B\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software, to permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice ...${more}`;
const apache = '                Apache License\n           Version 2.0, January 2004\n';
const gpl3 = '            GNU GENERAL PUBLIC LICENSE\n             Version 3, 29 June 2007\n';
const lgpl3 = '        GNU LESSER GENERAL PUBLIC LICENSE\n          Version 3, 29 June 2007\n';
const isc =
  'Permission to use, copy, modify, and/or distribute this software for any\npurpose with or without fee is hereby granted';
const bsd =
  'Copyright (c) X. All rights reserved.\n\nRedistribution and use in source and binary forms, with or without modification, are permitted provided that ...';

test.each<[string, string, string | null]>([
  ['MIT', mit(), 'MIT'],
  ['MIT with a bundled part', mit(`\n\nIt bundles foo:\n\n${apache}`), 'MIT'],
  ['MIT without a title', mit().slice(mit().indexOf('Copyright')), 'MIT'],
  [
    'MIT in brackets',
    mit().replace('The MIT License (MIT)', '(The MIT License)').replace('Copyright (c)', '(c)'),
    'MIT',
  ],
  ['MIT-0', mit().replace(', subject to', '.\n\nTHE SOFTWARE'), 'MIT-0'],
  ['Apache with a bundled part', `${apache}...\n\n${mit()}`, 'Apache-2.0'],
  ['Apache in Markdown', '# Apache License\n\n_Version 2.0, January 2004_\n', 'Apache-2.0'],
  ['GPL', gpl3, 'GPL-3.0'],
  ['LGPL', lgpl3, 'LGPL-3.0'],
  ['ISC', `ISC License\n\nCopyright X\n\n${isc}, provided that the above`, 'ISC'],
  ['0BSD', `Zero-Clause BSD\n=============\n\n${isc}.\n\nTHE SOFTWARE`, '0BSD'],
  ['two clauses', `BSD 2-Clause License\n\n${bsd}`, 'BSD-2-Clause'],
  ['three clauses', `${bsd} Neither the name of X`, 'BSD-3-Clause'],
  ['no trade', 'Attribution-NonCommercial 4.0 International\n\n=====\n', 'CC-BY-NC-4.0'],
  ['share alike', 'Attribution-ShareAlike 4.0 International\n', 'CC-BY-SA-4.0'],
  ['its own', 'Copyright (c) 2020 Acme. All rights reserved. Proprietary.\n', null],
  ['its own, with parts of others', `Acme Software License\n\nPortions:\n\n${mit()}`, null],
  ['its own and no line between', `(c) Acme, proprietary.\n${mit()}`, null],
  ['a clause before it', `"Commons Clause" License Condition v1.0\n\n${mit()}`, null],
  ['MIT, as it says', mit().replace('The MIT License (MIT)', '# This is the MIT license'), 'MIT'],
  [
    'MIT under a heading of its own',
    `# Foo core license\nFoo is released under the MIT license:\n\n${mit()}`,
    'MIT',
  ],
  [
    'MIT of all parts',
    'Copyright Foo\n\nThis software consists of contributions made by many individuals.\n\n' +
      `The following license applies to all parts of this software except as\ndocumented below:\n\n====\n\n${mit()}`,
    'MIT',
  ],
  ['MIT under a name', `Foo: reads bars\n\n${mit()}`, 'MIT'],
  [
    'Apache of the software',
    `The software is licensed under Apache-2.0.\n\n\n${apache}`,
    'Apache-2.0',
  ],
  ['another one', `Foo is released under the Acme license.\n\n${mit()}`, null],
  ['MIT of some', `This software may not be sold, else under the MIT license:\n\n${mit()}`, null],
  ['MIT for some', `Under the MIT license for noncommercial work:\n\n${mit()}`, null],
  ['MIT in words that are not read here', `僅供內部使用 (MIT)\n\n${mit()}`, null],
  ['MIT of a part', `Ours. It contains foo:\n\n${mit()}`, null],
  ['a long one before it', `${'Foo is ours.\n'.repeat(30)}\n${mit()}`, null],
  ['nothing', '', null],
])('the text of a licence is known by how it begins: %s', (_, text, license) => {
  expect(knownLicense(text)).toBe(license);
});

test('a text of nothing but who holds the rights is soon left', () => {
  const before = process.cpuUsage();
  expect(knownLicense('(c)\n'.repeat(16_384))).toBeNull();
  // Of the processor, in microseconds: others may have the machine.
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});

test.each<[string, Record<string, string>, string | null]>([
  ['a choice', { 'LICENSE-MIT': mit(), 'LICENSE-APACHE': apache }, 'Apache-2.0 OR MIT'],
  ['the lesser one', { COPYING: gpl3, 'COPYING.LESSER': lgpl3 }, 'LGPL-3.0'],
  ['one twice', { 'LICENSE.txt': mit(), 'LICENSE.md': mit() }, 'MIT'],
  ['both', { LICENSE: mit(), COPYING: gpl3 }, 'GPL-3.0 AND MIT'],
  [
    'a part of its own',
    { LICENSE: mit(), 'LICENSE-DOCS': 'Attribution 4.0 International' },
    'CC-BY-4.0 AND MIT',
  ],
  [
    'a choice that is explained',
    {
      COPYING: 'Dual-licensed under MIT or Apache.',
      'LICENSE-MIT': mit(),
      'LICENSE-APACHE': apache,
    },
    'Apache-2.0 OR MIT',
  ],
  [
    'a choice and more',
    { 'LICENSE-MIT': mit(), 'LICENSE-APACHE': apache, 'LICENSE-FONTS': 'Ours.' },
    '(Apache-2.0 OR MIT) AND LicenseRef-a-b-LICENSE-FONTS',
  ],
  ['none that is known', { LICENSE: 'Ours.' }, 'LicenseRef-a-b-LICENSE'],
  ['none', {}, null],
])('the licences of a folder together are %s', (_, files, license) => {
  const stated = Object.entries(files).map(([name, text]) => ({ file: `a/b/${name}`, text }));
  expect(licenseOfFolder(stated)).toBe(license);
  expect(licenseOfFolder(stated.toReversed())).toBe(license);
});

test.each<[string, string, string | null]>([
  ['a.py', '#!/usr/bin/env python\n# SPDX-License-Identifier: MIT\n', 'MIT'],
  ['a.c', '/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */\nint x;', '(GPL-2.0 OR MIT)'],
  ['a.ts', '/**\n * Says.\n\n * SPDX-License-Identifier: ISC\n */\n', 'ISC'],
  ['a.md', '<!-- SPDX-License-Identifier: CC0-1.0 -->\n# A\n', 'CC0-1.0'],
  ['a.md', '---\nSPDX-License-Identifier: CC0-1.0\n---\n', 'CC0-1.0'],
  ['a.txt.license', 'SPDX-FileCopyrightText: X\n\nSPDX-License-Identifier: 0BSD\n', '0BSD'],
  ['README.md', '# How\n\nWrite `SPDX-License-Identifier: MIT` in each file.\n', null],
  ['README.md', '# SPDX-License-Identifier: MIT\n\n* SPDX-License-Identifier: ISC\n', null],
  ['a.py', 'x = 1\n# SPDX-License-Identifier: MIT\n', null],
  ['a.ts', "const header = 'SPDX-License-Identifier: MIT';\n", null],
])('a header counts in the comments that a file begins with: %s', (name, text, license) => {
  expect(spdxOf(text, name)).toBe(license);
});

test('a licence that is not known ends the search, and code is none', async () => {
  const tree = path.join(folder, 'nested');
  await mkdir(path.join(tree, 'vendor/own/src'), { recursive: true });
  await mkdir(path.join(tree, 'packages/one'), { recursive: true });
  await writeFile(path.join(tree, 'LICENSE'), mit());
  await writeFile(path.join(tree, 'vendor/own/LICENSE'), 'Acme owns all of this.');
  await symlink('../../LICENSE', path.join(tree, 'packages/one/LICENSE'));
  for (const name of ['vendor/own/src/a.txt', 'packages/one/b.txt', 'src.txt'])
    await writeFile(path.join(tree, name), 'text');
  await writeFile(path.join(tree, 'packages/license.ts'), 'export const license = 1;');
  await writeFile(path.join(tree, 'packages/c.txt'), 'text');
  execFileSync('git', ['-C', tree, 'init', '-q']);
  execFileSync('git', ['-C', tree, 'add', '.']);
  const { licenseOf } = await openWorkTree(tree, '**/*');
  expect(await licenseOf('vendor/own/src/a.txt')).toBe('LicenseRef-vendor-own-LICENSE');
  expect(await licenseOf('packages/one/b.txt')).toBe('MIT');
  expect(await licenseOf('packages/c.txt')).toBe('MIT');
  expect(await licenseOf('src.txt')).toBe('MIT');
});
