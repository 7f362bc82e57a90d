"""A run directory as config/trainer.ts describes it: what happened, what is asked, how it ended.

Only rank 0 holds one. Readers see whole files: all but events.jsonl appear by rename.
"""

import fcntl
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_LOCK_WAIT_S = 15.0


class Busy(Exception):
    """Another process trains in this directory; nothing in it may be touched."""


@dataclass(kw_only=True, slots=True)
class Control:
    """The commands in force; config/trainer.ts says what each means."""

    fence: int = 0
    paused: bool = False
    pause: int = 0
    stop: bool = False
    stop_at: float | None = None
    save_now: int = 0
    learning_rates: list[tuple[int, float]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)

    def learning_rate_scale(self, step: int) -> float:
        """The factor of the last command whose step is not after this one."""
        due = [(at, scale) for at, scale in self.learning_rates if at <= step]
        return max(due, key=lambda command: command[0])[1] if due else 1.0


def parse_control(text: str) -> Control | None:
    """Reads control.json; None when it is no valid one, which then changes nothing."""
    try:
        value = json.loads(text)
        return Control(
            fence=int(value['fence']),
            paused=bool(value['paused']),
            pause=int(value.get('pause', 0)),
            stop=bool(value['stop']),
            stop_at=None if value.get('stopAt') is None else float(value['stopAt']),
            save_now=int(value['saveNow']),
            learning_rates=[(int(c['step']), float(c['scale'])) for c in value['learningRates']],
            acknowledged=[int(step) for step in value['acknowledged']],
        )
    except (ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file whole: another name, fsync, rename."""
    aside = path.with_name(f'.{path.name}.{os.getpid()}')
    with open(aside, 'w', encoding='utf-8') as file:
        json.dump(value, file, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def refuse(config: str, message: str) -> NoReturn:
    """A configuration that cannot be used still gets its result, beside itself."""
    result = {'ok': False, 'type': 'InvalidConfig', 'message': message, 'step': 0}
    folder = Path(config).resolve().parent
    if folder.is_dir():
        write_json(folder / 'result.json', result)
    sys.exit(f'InvalidConfig: {message}')


def last_step(run_dir: Path) -> int:
    """The step that the events of a run speak of last; 0 when there are none."""
    step = 0
    try:
        with open(run_dir / 'events.jsonl', 'rb') as lines:
            for line in lines:
                try:
                    step = int(json.loads(line)['step'])
                except (ValueError, KeyError, TypeError):
                    continue  # A torn line.
    except OSError:
        pass
    return step


class RunDirectory:
    """The lock, the events, the commands and the result of one run."""

    def __init__(self, path: str, unwatched_exit_s: float) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        (self.path / 'result.json').unlink(missing_ok=True)
        self._events = open(self.path / 'events.jsonl', 'ab', buffering=0)  # noqa: SIM115
        self._end_torn_line()
        self._control = Control()
        self._seen: tuple[int, int] | None = None
        self._unwatched_exit_s = unwatched_exit_s
        # Of the monotonic clock: setting the other one neither hurries nor delays the end.
        self._watched_at = time.monotonic()
        self.poll()
        self._saves_done = self._control.save_now

    def _take_lock(self) -> Any:
        lock = open(self.path / 'lock', 'ab')  # noqa: SIM115
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError as error:
                # The rank of an agent that was just killed needs a moment to notice.
                if time.monotonic() > deadline:
                    raise Busy(
                        f'{self.path}: another trainer holds the lock; stop it or wait for its end'
                    ) from error
                time.sleep(0.1)

    def _end_torn_line(self) -> None:
        """A writer killed in the middle of a line must not spoil the next one."""
        path = self.path / 'events.jsonl'
        size = path.stat().st_size
        if size == 0:
            return
        with open(path, 'rb') as file:
            file.seek(size - 1)
            if file.read(1) != b'\n':
                self._events.write(b'\n')

    def event(self, event: str, step: int, **facts: object) -> None:
        """Appends one event. A full disk costs the line, never the run."""
        plain = {
            key: 0.0 if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in facts.items()
        }
        line = json.dumps({'event': event, 'step': step, **plain, 'at': time.time()})
        try:
            self._events.write(line.encode() + b'\n')
        except OSError:
            pass

    def poll(self) -> Control:
        """The commands in force now, at the highest fence seen."""
        path = self.path / 'control.json'
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen != self._seen:
                control = parse_control(path.read_text('utf-8'))
                self._seen = seen
                self._watched_at = time.monotonic()
                if control is not None and control.fence >= self._control.fence:
                    self._control = control
        except OSError:
            pass
        return self._control

    def adopt_learning_rates(self, rates: list[tuple[int, float]]) -> None:
        """The factors a checkpoint was made under hold until a command replaces them."""
        if self._seen is None:
            self._control.learning_rates = rates

    def unwatched(self) -> bool:
        """Whether nobody has touched control.json, since the start or for the plan's time."""
        return time.monotonic() - self._watched_at > self._unwatched_exit_s

    def save_requested(self) -> bool:
        """True once for each higher saveNow."""
        if self._control.save_now <= self._saves_done:
            return False
        self._saves_done = self._control.save_now
        return True

    def finish(self, result: dict[str, Any]) -> None:
        """Writes result.json, the last file of a run."""
        write_json(self.path / 'result.json', result)
