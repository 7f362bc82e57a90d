import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { commandLine, givenFolder, questionOf } from '../../bench/first-hour.ts';
import { neededFiles } from '../../bench/support/mixed-folder.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-first-hour-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('without its texts the bench says which, and starts nothing', () => {
  expect(() => givenFolder(undefined)).toThrow(
    /^--data: found nothing, expected a folder with tw_law_zh\.jsonl\.gz.*Nothing was started\.$/,
  );
  expect(() => givenFolder(folder)).toThrow(`found no ${neededFiles.join(', ')} in ${folder}`);
});

test('its question is about the first record, in a phrasing that was not trained on', () => {
  const file = path.join(folder, 'a.jsonl');
  writeFileSync(file, '{"title":"民法","level":"法律"}\n{"title":"刑法","level":"命令"}\n');
  const questions = [{ askHeldOut: ['請問{title}的level為何？'], answer: '{level}' }];
  const looked = {
    name: 'law',
    survey: { numFiles: 1, numDocuments: 2 },
    suggestion: { key: 'title', questions },
  };
  expect(questionOf(looked, file)).toEqual({
    question: '請問民法的level為何？',
    expected: '法律',
  });
});

test('a command that fails brings its own sentence', async () => {
  const temper = commandLine(folder, path.join(folder, 'home'));
  await expect(temper('init', 'absent')).rejects.toThrow(
    'temper init: absent: found nothing there',
  );
});
