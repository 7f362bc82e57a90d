"""Whether the kernel killed a rank for want of memory: such a kill leaves no word behind.

The rank ends by SIGKILL, as when a person kills it. Where the kernel's own record can be read, it
names whom it killed. Elsewhere its count of such kills must have risen right before the rank
ended: one that rose an hour ago was for another program.
"""

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainer.memory import oom_kills

# A process of many gigabytes is not gone at once.
_BEFORE_S = 5.0
_AFTER_S = 1.0
# Who looked so long ago cannot tell when the count rose.
_BLIND_S = 30.0
_LOOK_S = 1.0
_KEPT = 120

_INITIAL_PIDS = 'pid:[4026531836]'
_KILLED = re.compile(r'Killed process (\d+) \(')


@dataclass(frozen=True, slots=True)
class Death:
    """How a rank ended; `at` is on the monotonic clock."""

    pid: int
    exit_code: int
    at: float


class KillRecord:
    """What the kernel says of its kills from now on, where this process may read that."""

    def __init__(
        self, file: Path = Path('/dev/kmsg'), pids: Path = Path('/proc/self/ns/pid')
    ) -> None:
        self._fd: int | None = None
        self._text = ''
        with suppress(OSError):
            # Elsewhere, as in a container, the kernel's numbers of processes are not ours.
            if os.readlink(pids) != _INITIAL_PIDS:
                return
            self._fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._fd, 0, os.SEEK_END)

    def killed(self) -> set[int] | None:
        """The processes that were killed since this was made; None where nobody can tell."""
        while self._fd is not None:
            try:
                read = os.read(self._fd, 8192)
            except BrokenPipeError:
                continue  # Older records were overwritten: the next read gives newer ones.
            except BlockingIOError:
                break
            except OSError:
                os.close(self._fd)
                self._fd = None
                break
            if read == b'':
                break
            self._text += read.decode('utf-8', 'replace')
        if self._fd is None:
            return None
        return {int(pid) for pid in _KILLED.findall(self._text)}


class KillWatch:
    """Looks at the kernel's count each second, so that it is known when that rose."""

    def __init__(
        self,
        count: Callable[[], int] = oom_kills,
        record: KillRecord | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        self._record = record or KillRecord()
        self._seen: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        self.look()

    def look(self) -> None:
        """Notes the count as it is now."""
        self._seen.append((self._clock(), self._count()))

    def start(self) -> None:
        """Looks again and again, until this process ends."""

        def watch() -> None:
            while True:
                time.sleep(_LOOK_S)
                self.look()

        threading.Thread(target=watch, name='kills', daemon=True).start()

    def killed_for_memory(self, deaths: Iterable[Death]) -> bool:
        """Whether the kernel killed one of these ranks for want of memory."""
        self.look()
        killed = [death for death in deaths if death.exit_code == -signal.SIGKILL]
        named = self._record.killed()
        return any(
            self._rose_at(death.at) and (named is None or death.pid in named) for death in killed
        )

    def _rose_at(self, at: float) -> bool:
        """Whether something was killed for want of memory right before that time."""
        seen = list(self._seen)
        before = [look for look in seen if look[0] <= at - _BEFORE_S] or seen[:1]
        looked_at, count = before[-1]
        if at - looked_at > _BLIND_S:
            return False
        after = [kills for time_of, kills in seen if time_of >= at + _AFTER_S] or [seen[-1][1]]
        return after[0] > count
