"""A kill for want of memory is told from another: by when it was counted, and by its name."""

import json
import os
from pathlib import Path

import pytest

from trainer.kills import Death, KillRecord, KillWatch
from trainer.launch import explain_death

_UNREAD = KillRecord(Path('/no/record'))


class _Machine:
    """A clock, and the kernel's count, which rises at these times."""

    def __init__(self, *rises: float, record: KillRecord = _UNREAD) -> None:
        self.now = 0.0
        self._rises = rises
        self.watch = KillWatch(
            lambda: 4 + sum(at <= self.now for at in self._rises), record, lambda: self.now
        )

    def look_until(self, now: float) -> None:
        while self.now < now:
            self.now += 1.0
            self.watch.look()

    def kills(self, at: float, exit_code: int = -9, *, noticed: float | None = None) -> bool:
        self.look_until(at if noticed is None else noticed)
        return self.watch.killed_for_memory([Death(pid=7, exit_code=exit_code, at=at)])


@pytest.mark.parametrize(
    ('rises', 'exit_code', 'expected'),
    [
        ((3600.5,), -9, True),
        ((3597,), -9, True),
        ((), -9, False),
        ((10,), -9, False),
        ((10, 3000), -9, False),
        ((10, 3600.5), -9, True),
        ((3600.5,), 1, False),
        ((3600.5,), -11, False),
    ],
)
def test_memory_is_the_cause_when_the_count_rose_right_before_a_rank_was_killed(
    rises: tuple[float, ...], exit_code: int, expected: bool
) -> None:
    assert _Machine(*rises).kills(3601, exit_code) is expected


def test_a_rank_that_somebody_killed_long_after_a_kill_for_memory_gets_no_result(
    tmp_path: Path,
) -> None:
    machine = _Machine(10)
    machine.look_until(3600)
    explain_death(tmp_path, [Death(pid=7, exit_code=-9, at=3600)], machine.watch)
    assert not (tmp_path / 'result.json').exists()
    machine = _Machine(3599)
    machine.look_until(3600)
    explain_death(tmp_path, [Death(pid=7, exit_code=-9, at=3600)], machine.watch)
    assert json.loads((tmp_path / 'result.json').read_text())['type'] == 'OutOfMemory'


def test_a_kill_soon_after_the_start_counts_from_the_start() -> None:
    assert _Machine(1.5).kills(2) is True
    assert _Machine(-1).kills(2) is False


def test_what_was_killed_while_the_other_ranks_were_being_ended_is_another_matter() -> None:
    assert _Machine(3620).kills(3600, noticed=3630) is False


def test_who_was_stopped_for_long_cannot_tell_when_the_count_rose() -> None:
    machine = _Machine(1000)
    machine.look_until(10)
    machine.now = 3600
    assert machine.watch.killed_for_memory([Death(pid=7, exit_code=-9, at=3600)]) is False


def _record_of(tmp_path: Path, *pids: int) -> KillRecord:
    """The kernel's record, in which these were killed after it was opened."""
    kmsg, namespace = tmp_path / 'kmsg', tmp_path / 'pid'
    kmsg.write_text('3,1,9,-;Out of memory: Killed process 7 (python) total-vm:1kB\n')
    os.symlink('pid:[4026531836]', namespace)
    record = KillRecord(kmsg, namespace)
    with open(kmsg, 'a') as file:
        for pid in pids:
            file.write(f'3,2,99,-;Memory cgroup out of memory: Killed process {pid} (pt_main)\n')
    return record


@pytest.mark.parametrize(('pids', 'expected'), [((8, 7), True), ((8,), False), ((), False)])
def test_where_the_kernel_names_whom_it_killed_that_decides(
    tmp_path: Path, pids: tuple[int, ...], expected: bool
) -> None:
    machine = _Machine(3600.5, record=_record_of(tmp_path, *pids))
    assert machine.kills(3601) is expected


def test_in_a_container_the_kernel_names_other_numbers(tmp_path: Path) -> None:
    kmsg, namespace = tmp_path / 'kmsg', tmp_path / 'pid'
    kmsg.write_text('')
    os.symlink('pid:[4026532999]', namespace)
    assert KillRecord(kmsg, namespace).killed() is None
