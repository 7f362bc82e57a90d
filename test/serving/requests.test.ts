import { describe, expect, test } from 'vitest';
import type { ServingError } from '../../serving/errors.ts';
import { parseChat, parseCompletion } from '../../serving/requests.ts';

function refusal(run: () => unknown): ServingError {
  try {
    run();
  } catch (error) {
    return error as ServingError;
  }
  throw new Error('was accepted');
}

describe('requests', () => {
  test('a prompt may be a string, strings, token ids, or lists of token ids', () => {
    const kinds = (prompt: unknown) => parseCompletion({ model: 'm', prompt }).job.prompts;
    expect(kinds('a')).toEqual([{ kind: 'text', text: 'a' }]);
    expect(kinds(['a', 'b'])).toEqual([
      { kind: 'text', text: 'a' },
      { kind: 'text', text: 'b' },
    ]);
    expect(kinds([1, 2])).toEqual([{ kind: 'ids', ids: [1, 2] }]);
    expect(kinds([[1], [2, 3]])).toEqual([
      { kind: 'ids', ids: [1] },
      { kind: 'ids', ids: [2, 3] },
    ]);
  });

  test.each([
    [{ prompt: 'a' }, /^model: expected string/],
    [{ model: 'm' }, /^prompt: expected a string, a list of strings/],
    [{ model: 'm', prompt: [] }, /prompt: found an empty list/],
    [{ model: 'm', prompt: ['a', 1] }, /^prompt: expected/],
    [{ model: 'm', prompt: [-1] }, /^prompt.0: Too small: expected number to be >=0/],
    [{ model: 'm', prompt: 'a', max_tokens: -1 }, /max_tokens/],
    [{ model: 'm', prompt: 'a', max_tokens: 1.5 }, /max_tokens: expected int/],
    [{ model: 'm', prompt: 'a', max_tokens: 0 }, /max_tokens: found 0/],
    [{ model: 'm', prompt: 'a', temperature: '1' }, /temperature: expected number/],
    [{ model: 'm', prompt: 'a', temperature: 3 }, /temperature/],
    [{ model: 'm', prompt: 'a', n: 2 }, /n: expected 1/],
    [{ model: 'm', prompt: 'a', stop: [''] }, /stop.0: Too small/],
    [{ model: 'm', prompt: 'a', logit_bias: { 5: 1 } }, /logit_bias: expected none/],
    [{ model: 'm', prompt: 'a', logprobs: 21 }, /logprobs: expected a number of alternatives/],
    [{ model: 'm', prompt: 'a', tmperature: 1 }, /Unrecognized key: "tmperature"/],
    ['text', /expected object/],
    [null, /expected object/],
  ])('a wrong completion %j is refused with a reason', (body, message) => {
    const error = refusal(() => parseCompletion(body));
    expect(error.status).toBe(400);
    expect(error.message).toMatch(message);
  });

  test('too many prompts in one request are refused with the limit', () => {
    const request = { model: 'm', prompt: Array(129).fill('a') };
    const { message } = refusal(() => parseCompletion(request));
    expect(message).toBe('prompt: found 129 prompts, expected at most 128 a request');
  });

  test('every fault of a request is named at once', () => {
    const error = refusal(() => parseCompletion({ model: 1, prompt: 2, top_p: 5 }));
    expect(error.message).toMatch(/^model: .*; top_p: .*; prompt: /);
    expect(error.detail.param).toBe('model');
  });

  test('chat content may be text parts; other parts are refused', () => {
    const parse = (content: unknown) =>
      parseChat({ model: 'm', messages: [{ role: 'developer', content }] }).job.prompts;
    expect(
      parse([
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ]),
    ).toEqual([{ kind: 'chat', messages: [{ role: 'system', content: 'ab' }] }]);
    expect(refusal(() => parse([{ type: 'image_url', image_url: {} }])).message).toMatch(
      /messages.0.content: expected a string, or a list of text parts/,
    );
  });

  test('the harness request for log-likelihoods is understood', () => {
    const { job } = parseCompletion({
      model: 'm',
      prompt: [[1, 2, 3]],
      temperature: 0,
      max_tokens: 1,
      logprobs: 1,
      seed: 1234,
      echo: true,
    });
    expect(job).toMatchObject({ echo: true, logprobs: 1, maxTokens: 1, seed: 1234, stop: [] });
  });
});
