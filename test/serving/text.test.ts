import { describe, expect, test } from 'vitest';
import { openTextStream } from '../../serving/engine-text.ts';

function run(parts: Uint8Array[], stop: string[]) {
  const stream = openTextStream(stop);
  const pieces: string[] = [];
  for (const part of parts) {
    pieces.push(stream.push(part));
    if (stream.stopped) break;
  }
  return { pieces: [...pieces, stream.end()], stopped: stream.stopped };
}

describe('the text of an answer', () => {
  test('a character split over tokens appears whole, and only then', () => {
    const bytes = Buffer.from('a😀é');
    const { pieces } = run(
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      [],
    );
    expect(pieces).toEqual(['a', '', '', '', '😀', '', 'é', '']);
  });

  test('bytes that never become a character end as replacement characters', () => {
    expect(run([Buffer.from('a'), Uint8Array.of(0xe4, 0xb8)], []).pieces.join('')).toBe('a\ufffd');
  });

  test('a byte order mark is text like any other', () => {
    expect(run([Buffer.from('\ufeffa')], []).pieces.join('')).toBe('\ufeffa');
  });

  test('a stop sequence over token borders ends the text before it, and nothing of it gets out', () => {
    const parts = ['one. ', 'Que', 'st', 'ion: x'].map((text) => Buffer.from(text));
    const { pieces, stopped } = run(parts, ['Question:', 'zzz']);
    expect(stopped).toBe(true);
    expect(pieces.join('')).toBe('one. ');
    expect(pieces).toEqual(['one. ', '', '', '', '']);
  });

  test('what only began like a stop sequence is released', () => {
    const parts = ['Que', 'll', 'Ques'].map((text) => Buffer.from(text));
    const { pieces, stopped } = run(parts, ['Question:']);
    expect(stopped).toBe(false);
    expect(pieces).toEqual(['', 'Quell', '', 'Ques']);
  });

  test('the earliest of several stop sequences counts', () => {
    expect(run([Buffer.from('a b c d')], ['d', 'c', ' c']).pieces.join('')).toBe('a b');
  });
});
