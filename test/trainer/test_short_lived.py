"""The frame of modules that a caller waits for."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from conftest import PROJECT


def _run(config: object, tmp_path: Path) -> tuple[int, dict[str, object]]:
    file = tmp_path / 'tokenizer.json'
    file.write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, '-m', 'trainer.tokenizer', '--config', str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_the_last_line_says_what_was_wrong(tmp_path: Path) -> None:
    code, outcome = _run(
        {'schemaVersion': 1, 'inputs': [], 'vocabSize': 400, 'output': 'x'}, tmp_path
    )
    assert code == 1
    assert outcome['ok'] is False
    assert outcome['type'] == 'InvalidConfig'


def test_the_last_line_holds_the_outcome(tmp_path: Path) -> None:
    (tmp_path / 'a').write_text('{"text": "some text"}\n')
    config = {
        'schemaVersion': 1,
        'inputs': [str(tmp_path / 'a')],
        'vocabSize': 300,
        'output': str(tmp_path / 'out.json'),
    }
    code, outcome = _run(config, tmp_path)
    assert (code, outcome['ok']) == (0, True)
    assert outcome['vocabSize'] >= 260


def test_a_module_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    work = (
        'import os, sys, time\n'
        'from trainer.parent import end_with_parent\n'
        'end_with_parent()\n'
        'open(sys.argv[1], "w").write(str(os.getpid()))\n'
        'time.sleep(60)\n'
    )
    parent = (
        'import os, subprocess, sys, time\n'
        'env = {**os.environ, "TEMPER_PARENT_PID": str(os.getpid())}\n'
        'subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=env)\n'
        'while not os.path.exists(sys.argv[2]): time.sleep(0.02)\n'
        'time.sleep(0.3)\n'
    )
    named = tmp_path / 'pid'
    subprocess.run([sys.executable, '-c', parent, work, str(named)], cwd=PROJECT, check=True)
    pid = int(named.read_text())
    deadline = time.monotonic() + 10
    while Path(f'/proc/{pid}').exists() and 'Z' not in Path(f'/proc/{pid}/stat').read_text():
        assert time.monotonic() < deadline, 'the module outlived its parent'
        time.sleep(0.05)


def test_a_module_whose_parent_was_gone_before_ends_at_once() -> None:
    work = (
        'import time\n'
        'from trainer.parent import end_with_parent\n'
        'end_with_parent()\n'
        'time.sleep(60)\n'
    )
    env = {**os.environ, 'TEMPER_PARENT_PID': '1'}
    done = subprocess.run(
        [sys.executable, '-c', work], cwd=PROJECT, env=env, timeout=30, check=False
    )
    assert done.returncode == 1


def test_a_full_disk_is_named_with_what_was_found(tmp_path: Path) -> None:
    config = {'schemaVersion': 1, 'inputs': ['a'], 'vocabSize': 400, 'output': 'x'}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    program = (
        'from pathlib import Path\n'
        'from trainer.short_lived import run_module\n'
        'from trainer.tokenizer import TokenizerRun\n'
        'run_module(TokenizerRun, lambda _: Path("/dev/full").write_bytes(b"text"))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, '--config', str(tmp_path / 'config.json')],
        cwd=PROJECT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome['type'] == 'DiskFull'
    assert 'No space left on device' in outcome['message']
    assert f'free at {tmp_path}, expected more; free some space' in outcome['message']
