"""Under torchrun: two ranks agree, nothing listens beyond loopback, no rank outlives its agent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PROJECT, MakeRun, Run

from trainer.launch import hand_on_failure

# Torchrun as it is, but the kernel has killed once more each time it is asked.
_MEMORY_RUNS_OUT = (
    'import itertools, pathlib, trainer.launch as launch\n'
    'from trainer.kills import KillRecord, KillWatch\n'
    'counts, unread = itertools.count(), KillRecord(pathlib.Path("/no/record"))\n'
    'launch.KillWatch = lambda: KillWatch(lambda: next(counts), unread)\n'
    'launch.main()\n'
)

# What Python reads before all else: the second rank fails in its third step.
_SECOND_RANK_FAILS = """
import os
if os.environ.get('RANK') == '1':
    from trainer.follower import Follower
    whole = Follower.micro_batch
    def fails(self, rows):
        size = whole(self, rows)
        if self.step == 2:
            raise MemoryError('as scripted')
        return size
    Follower.micro_batch = fails
"""


def _launch(run: Run, *program: str, **env: str) -> subprocess.Popen[bytes]:
    run.path.mkdir(parents=True, exist_ok=True)
    file = run.path / 'run.json'
    file.write_text(json.dumps(run.config))
    outside = run.path.with_name(f'{run.path.name}-tmp')
    outside.mkdir()
    return subprocess.Popen(
        [sys.executable, *(program or ('-m', 'trainer.launch')), '--config', str(file)],
        cwd=PROJECT,
        env={**os.environ, 'TMPDIR': str(outside), **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _left_outside(run: Run) -> list[Path]:
    """What the trainer left in the folder for temporary files."""
    return list(run.path.with_name(f'{run.path.name}-tmp').iterdir())


def _family(pid: int) -> set[int]:
    """A process and all its descendants."""
    found = {pid}
    for entry in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = entry.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) in found:
            found.add(int(entry.parent.name))
    return found


def _listening(pids: set[int]) -> set[str]:
    """Local addresses, hex, at which these processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f'/proc/{pid}/fd').glob('*'):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith('socket:['):
                inodes.add(target[8:-1])
    found = set()
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == '0A' and fields[9] in inodes:
                found.add(fields[1].split(':')[0])
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_two_ranks_train_on_loopback_and_end_with_their_agent(make_run: MakeRun) -> None:
    run = make_run(worldSize=2, numSteps=4000, decaySteps=10, saveEverySteps=5)
    # A URL would end at the hash.
    run.path /= 'a folder #1'
    run.config['runDir'] = str(run.path)
    agent = _launch(run)
    run.wait_for(lambda: 5 in run.checkpoints())
    family = _family(agent.pid)
    assert len(family) >= 3
    loopback = {'0100007F', '00000000000000000000000001000000', '0000000000000000FFFF00000100007F'}
    assert _listening(family) <= loopback
    first = run.losses()
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in family):
        assert time.monotonic() < deadline, 'a rank outlived its agent'
        time.sleep(0.05)
    assert not (run.path / 'result.json').exists()
    assert _left_outside(run) == []

    resumed = make_run(
        run.path / 'checkpoints' / '5', worldSize=2, numSteps=4000, decaySteps=10, saveEverySteps=5
    )
    resumed.control()
    agent = _launch(resumed)
    common = [step for step in range(6, 16) if step in first]
    resumed.wait_for(lambda: len(resumed.losses()) >= 12)
    resumed.control(stop=True)
    assert agent.wait(60) == 0
    losses = resumed.losses()
    assert {step: losses[step] for step in common} == {step: first[step] for step in common}
    assert json.loads((resumed.path / 'result.json').read_text())['type'] == 'Stopped'
    assert list(resumed.path.glob('scratch-*')) == []


@pytest.mark.parametrize('program', [(), ('-c', _MEMORY_RUNS_OUT)], ids=['somebody', 'the kernel'])
def test_only_a_rank_that_the_kernel_killed_for_memory_gets_a_result(
    make_run: MakeRun, program: tuple[str, ...]
) -> None:
    run = make_run(numSteps=4000, saveEverySteps=4000)
    agent = _launch(run, *program)
    run.wait_for(lambda: len(run.losses()) >= 3)
    (rank,) = _family(agent.pid) - {agent.pid}
    os.kill(rank, signal.SIGKILL)
    assert agent.wait(60) == 1
    assert _left_outside(run) == list(run.path.glob('scratch-*')) == []
    if not program:
        assert not (run.path / 'result.json').exists()
        return
    result = json.loads((run.path / 'result.json').read_text())
    assert (result['ok'], result['type']) == (False, 'OutOfMemory')
    assert result['step'] == max(run.losses())
    assert result['rows'] == 4
    assert 'the kernel killed the trainer for want of memory' in result['message']


def test_what_another_rank_than_the_first_fails_with_is_the_result(
    make_run: MakeRun, tmp_path: Path
) -> None:
    (tmp_path / 'sitecustomize.py').write_text(_SECOND_RANK_FAILS)
    run = make_run(worldSize=2)
    (run.path / 'failed-5.json').write_text('{"type": "DiskFull"}')
    agent = _launch(run, PYTHONPATH=f'{tmp_path}:{PROJECT}')
    assert agent.wait(60) == 1
    result = json.loads((run.path / 'result.json').read_text())
    assert (result['ok'], result['type'], result['step']) == (False, 'OutOfMemory', 2)
    assert result['rows'] == 2
    assert result['message'].startswith('as scripted; the trainer took')
    assert [path.name for path in run.path.glob('failed-*')] == ['failed-1.json']


def test_a_failure_is_handed_on_where_there_is_no_result_and_nobody_killed_a_rank(
    tmp_path: Path,
) -> None:
    def left(name: str, kind: str, at: int) -> None:
        file = tmp_path / name
        file.write_text(json.dumps({'type': kind}))
        os.utime(file, (at, at))

    result = tmp_path / 'result.json'
    left('failed-1.json', 'Failed', 20)
    hand_on_failure(tmp_path, [-signal.SIGKILL])
    assert not result.exists()
    left('failed-2.json', 'DiskFull', 10)
    hand_on_failure(tmp_path, [-signal.SIGKILL])
    assert json.loads(result.read_text()) == {'type': 'DiskFull'}
    result.write_text('{}')
    hand_on_failure(tmp_path, [1])
    assert result.read_text() == '{}'
