/** A pattern that looks through a run again from each of its characters takes minutes for a page of dots. */
import { expect, test } from 'vitest';
import { filterSteps, textSteps } from '../../config/cleaning.ts';
import { personalDataKinds } from '../../config/personal-data.ts';
import { scriptShares } from '../../corpus/characters.ts';
import { changeText, repairFirst, stepsRefusal } from '../../corpus/cleaning/steps.ts';
import { languageOf } from '../../corpus/languages.ts';
import { redact } from '../../corpus/redact.ts';
import { wordsOf } from '../../corpus/words.ts';

const settings = { keep: ['en'], words: ['ant', '中文'] };

test.each(['.', '-', ' ', '1', 'a', '(', '@', '０', '中'])(
  'no step and no detector takes long over 200,000 times %j',
  (character) => {
    const text = `${character.repeat(200_000)}x`;
    const judged = { text, script: scriptShares(text).main, words: wordsOf(text) };
    const work: [name: string, run: () => void][] = [
      ...textSteps.map((step): [string, () => void] => [
        step,
        () => changeText(repairFirst(text, [{ step }], {}), [{ step }], {}),
      ]),
      ...filterSteps.map((step): [string, () => void] => [
        step,
        () => stepsRefusal(judged, [{ step, ...settings }], {}, () => languageOf(text)),
      ]),
      ...personalDataKinds.map((kind): [string, () => void] => [kind, () => redact(text, [kind])]),
    ];
    const slow = work.filter(([, run]) => {
      const started = performance.now();
      run();
      return performance.now() - started > 1000;
    });
    expect(slow.map(([name]) => name)).toEqual([]);
  },
  600_000,
);
