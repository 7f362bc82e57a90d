/** The one byte form of a value. */
import { expect, test } from 'vitest';
import { canonicalJson } from '../../config/digest.ts';

test.each([
  [{ b: 1, a: 2 }, '{"a":2,"b":1}'],
  [{ a: 2, b: 1 }, '{"a":2,"b":1}'],
  [{ a: { d: 1, c: [{ z: null, y: 'é"\n' }] } }, '{"a":{"c":[{"y":"é\\"\\n","z":null}],"d":1}}'],
  [{ a: undefined, b: true }, '{"b":true}'],
  [[1, undefined, 'x'], '[1,null,"x"]'],
  [{ B: 1, a: 1, 10: 1, 9: 1 }, '{"10":1,"9":1,"B":1,"a":1}'],
  [{ a: new Date(0) }, '{"a":{}}'],
  ['\ud83d', '"\\ud83d"'],
  [-0, '0'],
])('%j has one form, whatever the order of its keys', (value, expected) => {
  expect(canonicalJson(value)).toBe(expected);
});

test('a number that JSON has no form for is refused, however deep it lies', () => {
  expect(() => canonicalJson({ a: [{ b: Number.NaN }] })).toThrow('expected a finite number');
});
