"""Runs a command on a terminal of its own, ends it when it has said more than HINT, and tells when.

python first_output.py LIMIT_S HINT PROGRAM [ARGUMENT ...]
"""

import json
import os
import pty
import re
import select
import signal
import sys
import time


def main() -> None:
    limit_s, hint, argv = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    first_ms: float | None = None
    answer_ms: float | None = None
    output = b''
    text = ''
    while (left_s := began + limit_s - time.monotonic()) > 0 and answer_ms is None:
        if not select.select([terminal], [], [], left_s)[0]:
            break
        try:
            output += os.read(terminal, 4096)
        except OSError:
            # It ended.
            break
        now_ms = (time.monotonic() - began) * 1000
        first_ms = first_ms or now_ms
        shown = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', output.decode(errors='replace'))
        text = (shown.replace(hint, '') if hint else shown).strip()
        if text != '':
            answer_ms = now_ms
    end(pid)
    line = text.splitlines()[0] if text else ''
    print(json.dumps({'firstMs': first_ms, 'answerMs': answer_ms, 'text': line}))


def end(pid: int) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0] != 0:
                return
            time.sleep(0.01)


if __name__ == '__main__':
    main()
