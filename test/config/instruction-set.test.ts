import { expect, test } from 'vitest';
import {
  computesAs,
  cpuFlags,
  instructionSetOf,
  plannedSet,
} from '../../config/instruction-set.ts';

test('the flags of a processor are read from the text of the kernel', () => {
  const text = 'processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512bw\nbugs\t\t: spectre\n';
  expect(instructionSetOf(cpuFlags(text), 'x64')).toBe('avx512');
  expect(instructionSetOf(cpuFlags(''), 'x64')).toBe('other');
});

test('another kind of processor computes other bits; of one that is not known nothing can be said', () => {
  expect(computesAs('amx', 'amx')).toBe(true);
  expect(computesAs('amx', 'avx2')).toBe(false);
  expect(computesAs('other', 'avx2')).toBe(false);
  expect(computesAs(undefined, 'avx2')).toBe(true);
  expect(computesAs('amx', 'other')).toBe(true);
  expect(computesAs('amx', undefined)).toBe(true);
});

test('a run is planned for the hosts that live where none of them is as the machine that asks', () => {
  expect(plannedSet('avx2', [])).toBe('avx2');
  expect(plannedSet('avx2', [undefined])).toBe('avx2');
  expect(plannedSet('avx2', ['amx', 'avx2'])).toBe('avx2');
  expect(plannedSet('neon', ['avx2', 'amx', undefined, 'amx'])).toBe('amx');
  expect(plannedSet('neon', ['avx2', 'amx'])).toBe('amx');
  expect(plannedSet('other', ['amx'])).toBe('other');
});
