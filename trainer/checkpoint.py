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
    aside = open_aside(target)
    try:
        fill(aside)
        rename_whole(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def aside_of(target: Path) -> Path:
    """Where a folder is written before it gets its name."""
    return target.with_name(f'.{target.name}.partial')


def open_aside(target: Path) -> Path:
    """Makes that folder, empty."""
    aside = aside_of(target)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    return aside


def rename_whole(aside: Path, target: Path) -> None:
    """Brings a folder to disk and gives it its name."""
    for file in _files(aside):
        fsync(file)
    for folder in [aside, *(path for path in aside.rglob('*') if path.is_dir())]:
        fsync(folder)
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)
    fsync(target.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*') if path.is_file())


def save_checkpoint(
    target: Path, state: dict[str, Any], fill: Callable[[Path], dict[str, Any] | None]
) -> None:
    """Writes a checkpoint folder with a state.json that lists what `fill` wrote.

    `fill` may return the list itself, where files of it lie on other hosts.
    """

    def fill_and_list(folder: Path) -> None:
        files = fill(folder)
        if files is None:
            files = {path.relative_to(folder).as_posix(): entry(path) for path in _files(folder)}
        listed = {'schemaVersion': 1, **state, 'files': files}
        (folder / STATE).write_text(json.dumps(listed, sort_keys=True), 'utf-8')
        (folder / _SEAL).write_text(sha256_of(folder / STATE), 'ascii')

    write_folder(target, fill_and_list)


def entry(path: Path) -> dict[str, Any]:
    """What state.json says of a file."""
    return {'sha256': sha256_of(path), 'bytes': path.stat().st_size}


def verify_checkpoint(
    folder: Path, needs: Callable[[str], bool] = lambda _: True
) -> dict[str, Any]:
    """Returns state.json after it and every file in it that is needed had their digests.

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
        if not needs(name):
            continue
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


def shard_name(rank: int, num_ranks: int) -> str:
    """The file of a rank that holds a part of weights and optimizer."""
    return f'shard-{rank + 1:05}-of-{num_ranks:05}.safetensors'


def is_shard(name: str) -> bool:
    """Whether it is such a file."""
    return name.startswith('shard-')


def delete_acknowledged(checkpoints: Path, acknowledged: list[int], keep: int) -> None:
    """Deletes uploaded checkpoints, but never the newest `keep`."""
    steps = saved_steps(checkpoints)
    for step in steps[: max(0, len(steps) - keep)]:
        if step in acknowledged:
            shutil.rmtree(checkpoints / str(step), ignore_errors=True)


def drop_oldest(checkpoints: Path, acknowledged: list[int]) -> int | None:
    """Deletes one checkpoint for want of room, best one that is uploaded; the newest always stays.

    What counts is in the store. Should the newest on this disk never count, as another host lacks
    its shards or its rates are refused, the steps since the newest in the store are computed again.
    Returns the step of what it deleted; None when there is none to delete.
    """
    *older, _newest = saved_steps(checkpoints) or [0]
    if not older:
        return None
    step = next((step for step in older if step in acknowledged), older[0])
    shutil.rmtree(checkpoints / str(step), ignore_errors=True)
    return step


def saved_steps(checkpoints: Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, the oldest first."""
    return sorted(
        int(path.name) for path in checkpoints.iterdir() if path.is_dir() and path.name.isdigit()
    )
