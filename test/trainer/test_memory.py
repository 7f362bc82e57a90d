"""What the kernel counts, and what is said of memory that is too little."""

from pathlib import Path

import pytest

from trainer.memory import oom_kills, out_of_memory, require_room


def _machine(tmp_path: Path, group: str | None) -> tuple[Path, Path]:
    proc, cgroups = tmp_path / 'proc', tmp_path / 'cgroup'
    (proc / 'self').mkdir(parents=True)
    (proc / 'self' / 'cgroup').write_text('4:memory:/old\n0::/user/job\n')
    (proc / 'vmstat').write_text('nr_free_pages 12\noom_kill 7\n')
    if group is not None:
        (cgroups / 'user' / 'job').mkdir(parents=True)
        (cgroups / 'user' / 'job' / 'memory.events').write_text(group)
    return proc, cgroups


def test_kills_are_counted_in_our_control_group(tmp_path: Path) -> None:
    assert oom_kills(*_machine(tmp_path, 'low 0\noom 4\noom_kill 3\noom_group_kill 0\n')) == 3


def test_kills_are_counted_on_the_machine_where_the_group_counts_none(tmp_path: Path) -> None:
    assert oom_kills(*_machine(tmp_path, None)) == 7


def test_nothing_counted_is_no_kill(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == 0


def test_the_message_says_what_was_taken_what_there_is_and_what_to_do() -> None:
    message = out_of_memory(3_210_000_000)
    assert 'took 3.21 GB of memory at its peak' in message
    assert 'the machine has' in message
    assert 'smaller time budget' in message


def test_a_model_that_the_machine_cannot_hold_is_refused_by_how_much() -> None:
    require_room(1_000_000, 'small.gguf')
    with pytest.raises(
        ValueError, match=r'^large: a model of 90000000M parameters .* too little; take a'
    ):
        require_room(90_000_000_000_000, 'large')
