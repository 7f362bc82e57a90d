"""Checkpoints: a folder that appears whole and whose every file is verified before it is read.

Tensors lie in safetensors, which cannot carry code; state.json lists the files with their SHA-256,
and state.sha256 holds its own.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = 'state.json'
_SEAL = 'state.sha256'


class CheckpointIncompatible(Exception):
    """The checkpoint is damaged or belongs to another run."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def fsync(path: Path) -> None:
    """Brings a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write into a folder beside the target, then brings it to disk and renames it.

    What a failure left aside is removed: a full disk must not stay full because of it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f'.{target.name}.partial')
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        fill(aside)
        for file in _files(aside):
            fsync(file)
        for folder in [aside, *(path for path in aside.rglob('*') if path.is_dir())]:
            fsync(folder)
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
        fsync(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*') if path.is_file())


def save_checkpoint(target: Path, state: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Writes a checkpoint folder with a state.json that lists what `fill` wrote."""

    def fill_and_list(folder: Path) -> None:
        fill(folder)
        files = {
            path.relative_to(folder).as_posix(): {
                'sha256': sha256_of(path),
                'bytes': path.stat().st_size,
            }
            for path in _files(folder)
        }
        listed = {'schemaVersion': 1, **state, 'files': files}
        (folder / STATE).write_text(json.dumps(listed, sort_keys=True), 'utf-8')
        (folder / _SEAL).write_text(sha256_of(folder / STATE), 'ascii')

    write_folder(target, fill_and_list)


def verify_checkpoint(folder: Path) -> dict[str, Any]:
    """Returns state.json after it and every file in it were found with their digests.

    A checkpoint of an earlier version has no state.sha256.
    """
    seal = folder / _SEAL
    if seal.exists() and seal.read_bytes() != sha256_of(folder / STATE).encode():
        raise CheckpointIncompatible(f'{folder}: {STATE} has another SHA-256 than {_SEAL} says')
    try:
        state = json.loads((folder / STATE).read_text('utf-8'))
        files = dict(state['files'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointIncompatible(f'{folder}: no readable {STATE} ({error})') from error
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file() or path.is_symlink() or '..' in Path(name).parts:
            raise CheckpointIncompatible(f'{folder}: {name} is missing')
        size = path.stat().st_size
        if size != expected['bytes']:
            raise CheckpointIncompatible(
                f'{folder}: {name} has {size} bytes, expected {expected["bytes"]}'
            )
        found = sha256_of(path)
        if found != expected['sha256']:
            raise CheckpointIncompatible(
                f'{folder}: {name} has SHA-256 {found}, expected {expected["sha256"]}'
            )
    return state


def delete_acknowledged(checkpoints: Path, acknowledged: list[int], keep: int) -> None:
    """Deletes uploaded checkpoints, but never the newest `keep`."""
    steps = sorted(
        int(path.name) for path in checkpoints.iterdir() if path.is_dir() and path.name.isdigit()
    )
    for step in steps[: max(0, len(steps) - keep)]:
        if step in acknowledged:
            shutil.rmtree(checkpoints / str(step), ignore_errors=True)
