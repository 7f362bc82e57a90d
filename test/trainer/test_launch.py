"""Under torchrun: two ranks agree, nothing listens beyond loopback, no rank outlives its agent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import PROJECT, MakeRun, Run


def _launch(run: Run) -> subprocess.Popen[bytes]:
    run.path.mkdir(parents=True, exist_ok=True)
    file = run.path / 'run.json'
    file.write_text(json.dumps(run.config))
    return subprocess.Popen(
        [sys.executable, '-m', 'trainer.launch', '--config', str(file)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


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
