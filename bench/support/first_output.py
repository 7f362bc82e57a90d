"""Runs a command on a terminal of its own and says how long its first output took; then ends it.

python first_output.py LIMIT_S PROGRAM [ARGUMENT ...]
"""

import json
import os
import pty
import select
import signal
import sys
import time


def main() -> None:
    limit_s, argv = float(sys.argv[1]), sys.argv[2:]
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    first_ms: float | None = None
    text = b""
    readable, _, _ = select.select([terminal], [], [], limit_s)
    if readable:
        first_ms = (time.monotonic() - began) * 1000
        try:
            text = os.read(terminal, 4096)
        except OSError:
            # The command ended without a word: that is an answer too, by its exit code.
            text = b""
    end(pid)
    print(json.dumps({"firstMs": first_ms, "text": text.decode(errors="replace")}))


def end(pid: int) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left of it."""
    for number, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            done, _ = os.waitpid(pid, os.WNOHANG)
            if done != 0:
                return
            time.sleep(0.01)


if __name__ == "__main__":
    main()
