import { gzipSync } from 'node:zlib';
import iconv from 'iconv-lite';
import { expect, test } from 'vitest';
import { decodeNames } from '../../corpus/formats/names.ts';
import type { FileRecord } from '../../corpus/formats/types.ts';
import { tar, zip } from './make-files.ts';
import { inPieces, recordsOf } from './records.ts';

const names = '人事 會議 報告 預算表 公文 合約 照片 附件一 說明 財務 資料 測試 年報 規章 簡報 名冊'
  .split(' ')
  .map((name) => `${name}.txt`);
const raw = names.map((name) => iconv.encode(name, 'cp950'));
const archive = tar(raw.map((name) => ({ name, content: 'text' })));
const told = (found: readonly FileRecord[]) =>
  found.map(({ inside = '' }) => inside.slice(inside.lastIndexOf('!/') + 2));

test('some of these names alone would be taken for another encoding', () => {
  const alone = raw.map((name) => decodeNames([name])[0]!);
  expect(alone.filter((name, index) => name !== names[index]).length).toBeGreaterThan(0);
});

test('names in a tar are judged together, in whatever it is packed', async () => {
  expect(told(await recordsOf('a.tar', archive))).toEqual(names);
  const packed = gzipSync(archive);
  expect(told(await recordsOf('a.tgz', packed))).toEqual(names);
  const inZip = zip([
    { name: 'in/a.tar', content: archive, deflate: true },
    { name: 'in/b.tgz', content: packed },
  ]);
  expect(told(await recordsOf('a.zip', inZip))).toEqual([...names, ...names]);
});

test('names before a damage are judged by those before it', async () => {
  const cut = gzipSync(archive.subarray(0, archive.length - 4096));
  const found = await recordsOf('a.tgz', cut);
  expect(told(found).slice(0, 12)).toEqual(names.slice(0, 12));
});

test('of bytes that come once a name is judged with those before it, in whatever pieces they come', async () => {
  const outer = tar([{ name: 'in.tar', content: archive }]);
  const found = told(await recordsOf('a.tar', outer));
  // The more are known, the surer it is.
  expect(found.slice(8)).toEqual(names.slice(8));
  for (const length of [100, 512, 4000])
    expect(told(await recordsOf('a.tar', outer, inPieces(outer, length)))).toEqual(found);
});
