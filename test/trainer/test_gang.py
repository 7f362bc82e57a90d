"""Hosts in network namespaces: the bits of one host, after a loss too, and no door to elsewhere."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, MakeRun, Run

_NAMES = [f'temper-{os.getpid()}-{host}' for host in range(2)]
_ADDRESSES = ['10.213.77.1', '10.213.77.2']
_SOON_UNWATCHED = 'import trainer.launch as t; t._UNWATCHED_GRACE_S = 0.1; t.main()'
_RECIPE = {'worldSize': 2, 'numSteps': 30, 'saveEverySteps': 5, 'decaySteps': 5}


def _ip(*arguments: str) -> None:
    subprocess.run(['ip', *arguments], check=True, capture_output=True)


@pytest.fixture(scope='module')
def hosts() -> Iterator[list[str]]:
    """Two network namespaces with a cable between them."""
    if shutil.which('ip') is None or os.geteuid() != 0:
        pytest.skip('network namespaces need the command `ip` and root')
    cables = [f'tmp{os.getpid() % 100_000}{end}' for end in 'ab']
    try:
        for name in _NAMES:
            _ip('netns', 'add', name)
        _ip('link', 'add', cables[0], 'type', 'veth', 'peer', 'name', cables[1])
        for name, cable, address in zip(_NAMES, cables, _ADDRESSES, strict=True):
            _ip('link', 'set', cable, 'netns', name)
            _ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', cable)
            _ip('-n', name, 'link', 'set', cable, 'up')
            _ip('-n', name, 'link', 'set', 'lo', 'up')
    except subprocess.CalledProcessError as error:
        _remove()
        pytest.skip(f'no network namespaces here: {error.stderr.decode().strip()}')
    yield _NAMES
    _remove()


def _remove() -> None:
    for name in _NAMES:
        with suppress(subprocess.CalledProcessError):
            _ip('netns', 'del', name)


def _launch(run: Run, namespace: str | None = None, *program: str) -> subprocess.Popen[bytes]:
    run.path.mkdir(parents=True, exist_ok=True)
    file = run.path / 'run.json'
    file.write_text(json.dumps(run.config))
    enter = [] if namespace is None else ['ip', 'netns', 'exec', namespace]
    with open(run.path / 'trainer.log', 'ab') as log:
        return subprocess.Popen(
            [*enter, sys.executable, *(program or ('-m', 'trainer.launch')), '--config', str(file)],
            cwd=PROJECT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _gang(
    make_run: MakeRun, port: int, resume: list[Path] | None = None, **recipe: Any
) -> list[Run]:
    """The run as each host sees it."""
    runs = []
    for host, address in enumerate(_ADDRESSES):
        run = make_run(None if resume is None else resume[host], **{**_RECIPE, **recipe})
        run.config['gang'] = {
            'meeting': f'meeting-{port}',
            'numHosts': 2,
            'host': host,
            'address': _ADDRESSES[0],
            'port': port,
            'localAddress': address,
        }
        run.control()
        runs.append(run)
    return runs


def _pids(run: Run) -> set[int]:
    """The launcher and the rank of a run."""
    config = str(run.path / 'run.json')
    found = set()
    for entry in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):
            if config in entry.read_text().split('\0'):
                found.add(int(entry.parent.name))
    return found


def _listening(pids: set[int]) -> set[str]:
    """Addresses at which these processes listen, as their own network sees them."""
    found = set()
    for pid in pids:
        inodes = set()
        for link in Path(f'/proc/{pid}/fd').glob('*'):
            with suppress(OSError):
                inodes.add(os.readlink(link))
        for table in ('tcp', 'tcp6'):
            for line in Path(f'/proc/{pid}/net/{table}').read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == '0A' and f'socket:[{fields[9]}]' in inodes:
                    found.add(fields[1].split(':')[0][-8:])
    return {socket.inet_ntoa(bytes.fromhex(address)[::-1]) for address in found}


def _until(condition: Callable[[], bool]) -> None:
    """As `wait_for`, with the patience that four programs on a busy machine need."""
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, 'waited 200 s'
        time.sleep(0.01)


def _end(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    return [process.wait(240) for process in processes]


def _kill(run: Run) -> None:
    for pid in _pids(run):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope='module')
def alone(make_run: MakeRun) -> Run:
    """Two ranks on one host, undisturbed."""
    run = make_run(**_RECIPE)
    assert _launch(run).wait(240) == 0
    return run


def test_two_hosts_train_the_bits_of_one_and_listen_nowhere_else(
    make_run: MakeRun, hosts: list[str], alone: Run
) -> None:
    runs = _gang(make_run, 29511)
    processes = [_launch(run, name) for run, name in zip(runs, hosts, strict=True)]
    _until(lambda: len(runs[1].losses()) > 2)
    listening = [_listening(_pids(run)) for run in runs]
    assert _end(processes) == [0, 0]
    assert runs[0].weights() == alone.weights()
    assert runs[0].losses() == runs[1].losses() == alone.losses()
    assert _ADDRESSES[0] in listening[0]
    assert listening[0] <= {_ADDRESSES[0]} and listening[1] <= {_ADDRESSES[1]}
    # Only the leading host writes what is stored.
    assert runs[1].checkpoints() == [] and not (runs[1].path / 'model').exists()
    assert json.loads((runs[1].path / 'result.json').read_text())['ok'] is True


def test_after_a_host_is_lost_the_next_gang_ends_with_the_same_bits(
    make_run: MakeRun, hosts: list[str], alone: Run
) -> None:
    runs = _gang(make_run, 29512)
    processes = [_launch(run, name) for run, name in zip(runs, hosts, strict=True)]
    _until(lambda: 10 in runs[0].checkpoints())
    _kill(runs[1])
    assert processes[0].wait(200) != 0
    processes[1].wait(60)
    assert json.loads((runs[0].path / 'result.json').read_text())['type'] == 'Failed'
    newest = runs[0].path / 'checkpoints' / str(max(runs[0].checkpoints()))
    brought = runs[1].path / newest.name
    shutil.copytree(newest, brought)

    resumed = _gang(make_run, 29513, [newest, brought])
    processes = [_launch(run, name) for run, name in zip(resumed, hosts, strict=True)]
    assert _end(processes) == [0, 0]
    assert min(resumed[1].losses()) == int(newest.name) + 1
    assert resumed[0].weights() == alone.weights()


def test_two_hosts_save_their_own_shards_and_go_on_from_both_to_the_bits_of_one(
    make_run: MakeRun, hosts: list[str]
) -> None:
    recipe = {'parallelism': 'fsdp2', 'numSteps': 12}
    alone = make_run(**{**_RECIPE, **recipe})
    assert _launch(alone).wait(240) == 0
    runs = _gang(make_run, 29519, **recipe)
    processes = [_launch(run, name) for run, name in zip(runs, hosts, strict=True)]
    _until(lambda: all(5 in run.checkpoints() for run in runs))
    for run in runs:
        _kill(run)
    for process in processes:
        process.wait(60)
    folders = [run.path / 'checkpoints' / '5' for run in runs]
    shards = [f'shard-0000{host + 1}-of-00002.safetensors' for host in range(2)]
    sealed = {'state.json', 'state.sha256'}
    assert {path.name for path in folders[0].iterdir()} == {shards[0], *sealed}
    assert [path.name for path in folders[1].iterdir()] == [shards[1]]
    assert [event['step'] for event in runs[1].events('checkpoint')][0] == 5

    # As the store brings it: all files to both.
    for target, source in ((folders[0], folders[1]), (folders[1], folders[0])):
        shutil.copytree(source, target, dirs_exist_ok=True)
    resumed = _gang(make_run, 29520, folders, **recipe)
    processes = [_launch(run, name) for run, name in zip(resumed, hosts, strict=True)]
    assert _end(processes) == [0, 0]
    assert min(resumed[1].losses()) == 6
    assert resumed[0].losses() == {step: alone.losses()[step] for step in range(6, 13)}
    assert resumed[0].weights() == alone.weights()


@pytest.mark.parametrize('host', [0, 1])
def test_a_host_that_is_told_to_stop_takes_the_gang_along_and_a_checkpoint_is_saved(
    make_run: MakeRun, hosts: list[str], host: int
) -> None:
    port = 29514 + host
    runs = _gang(make_run, port, numSteps=100_000, saveEverySteps=100_000)
    processes = [_launch(run, name) for run, name in zip(runs, hosts, strict=True)]
    _until(lambda: len(runs[1].losses()) > 2)
    # In a pause it is heard as well.
    runs[0].control(paused=True)
    _until(lambda: len(runs[0].events('paused')) == 1)
    for pid in _pids(runs[host]):
        os.kill(pid, signal.SIGTERM)
    _end(processes)
    for run in runs:
        assert json.loads((run.path / 'result.json').read_text())['type'] == 'Stopped'
    assert runs[0].checkpoints() == [max(runs[0].losses())]


def test_a_host_that_waits_for_a_silent_one_ends_when_nobody_watches_it(
    make_run: MakeRun, hosts: list[str]
) -> None:
    run = _gang(make_run, 29516, unwatchedExitS=0.1)[0]
    # The other host never comes.
    process = _launch(run, hosts[0], '-c', _SOON_UNWATCHED)
    assert process.wait(200) == 1
    assert _pids(run) == set()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('numHosts', 3, 'expected a multiple of gang.numHosts'),
        ('numHosts', 1, 'gang.numHosts: found 1, expected 2 or more'),
        ('host', 2, 'gang.host: found 2, expected 0 to 1'),
        ('port', 0, 'gang.port: found 0'),
        ('address', 'host-a', "gang.address: found 'host-a', expected an IPv4 address"),
        ('address', '192.0.2.9', 'gang.address: found 192.0.2.9, expected 10.213.77.1'),
        ('localAddress', '192.0.2.9', 'gang.address: found 10.213.77.1, expected 192.0.2.9'),
    ],
)
def test_a_gang_that_does_not_fit_is_refused_by_name(
    make_run: MakeRun, key: str, value: Any, message: str
) -> None:
    from trainer.config import load_run

    run = _gang(make_run, 29517)[0]
    run.config['gang'][key] = value
    file = run.path / 'run.json'
    file.write_text(json.dumps(run.config))
    with pytest.raises(ValueError, match=message):
        load_run(str(file), 'pretrain')


def test_an_address_that_the_host_does_not_have_is_refused(make_run: MakeRun) -> None:
    run = _gang(make_run, 29518)[0]
    run.config['gang'] |= {'address': '192.0.2.9', 'localAddress': '192.0.2.9'}
    assert _launch(run).wait(200) != 0
    result = json.loads((run.path / 'result.json').read_text())
    assert result['type'] == 'InvalidConfig'
    assert 'found 192.0.2.9, which no interface of this host has' in result['message']
