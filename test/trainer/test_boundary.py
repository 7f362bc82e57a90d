"""Whether somebody watches is counted on a clock that nobody sets."""

import os
from pathlib import Path

import pytest

from trainer import boundary


@pytest.mark.parametrize('set_by', [-7200, 7200])
def test_setting_the_clock_neither_hurries_nor_delays_the_end_of_one_that_nobody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_by: float
) -> None:
    now = 1000.0
    wall = 1_000_000.0
    monkeypatch.setattr(boundary.time, 'monotonic', lambda: now)
    monkeypatch.setattr(boundary.time, 'time', lambda: wall)
    control = tmp_path / 'control.json'
    control.write_text('{}')
    os.utime(control, (wall, wall))
    directory = boundary.RunDirectory(str(tmp_path), 600)

    def after(seconds: float, touched: bool) -> bool:
        nonlocal now, wall
        now, wall = now + seconds, wall + seconds
        if touched:
            os.utime(control, (wall, wall))
        directory.poll()
        return directory.unwatched()

    assert after(500, touched=True) is False
    wall += set_by
    assert after(500, touched=False) is False
    assert after(200, touched=False) is True
    assert after(1, touched=True) is False
