/** A sign of life for whoever sits at a terminal: there at once, before what a command needs is loaded, and gone with its first word. */

export const waitingText = '… at work';
const erase = '\r\u001b[K';

type Write = typeof process.stdout.write;

/** Shows it on standard error, where both outputs are terminals; what is returned takes it away again. */
export function showWaiting(): () => void {
  const { stdout, stderr } = process;
  if (stderr.isTTY !== true || stdout.isTTY !== true) return () => {};
  stderr.write(waitingText);
  const streams = [stdout, stderr].map((stream) => ({ stream, write: stream.write.bind(stream) }));
  let shown = true;
  const hide = () => {
    if (!shown) return;
    shown = false;
    for (const { stream, write } of streams) stream.write = write;
    stderr.write(erase);
  };
  for (const { stream, write } of streams) {
    stream.write = ((...args: Parameters<Write>) => {
      hide();
      return write(...args);
    }) as Write;
  }
  return hide;
}
