/** A sign of life for whoever sits at a terminal: shown when nothing else came soon, gone with the first word. */

const afterMs = 150;
const erase = '\r\u001b[K';

type Write = typeof process.stdout.write;

/** Shows it on standard error, where that is a terminal; a command that prints at once never shows it. */
export function showWaiting(text = '… at work'): void {
  const { stdout, stderr } = process;
  if (stderr.isTTY !== true || stdout.isTTY !== true) return;
  const originals = [stdout, stderr].map((stream) => ({
    stream,
    write: stream.write.bind(stream),
  }));
  let shown = false;
  const timer = setTimeout(() => {
    shown = true;
    originals[1]!.write(text);
  }, afterMs);
  timer.unref();
  for (const { stream, write } of originals) {
    stream.write = ((...args: Parameters<Write>) => {
      // Flushing writes nothing, and is no word yet.
      if (args[0] !== '') {
        clearTimeout(timer);
        for (const one of originals) one.stream.write = one.write;
        if (shown) originals[1]!.write(erase);
      }
      return write(...args);
    }) as Write;
  }
}
