"""A checkpoint appears whole, and is believed only after every digest was checked."""

import json
from pathlib import Path

import pytest

from trainer.checkpoint import (
    CheckpointIncompatible,
    delete_acknowledged,
    save_checkpoint,
    verify_checkpoint,
)


def _save(folder: Path) -> Path:
    def fill(aside: Path) -> None:
        (aside / 'model.safetensors').write_bytes(bytes(range(256)) * 40)
        (aside / 'rng.safetensors').write_bytes(b'random')

    save_checkpoint(folder / '5', {'step': 5}, fill)
    return folder / '5'


def test_a_checkpoint_lists_its_files(tmp_path: Path) -> None:
    state = verify_checkpoint(_save(tmp_path))
    assert state['step'] == 5
    assert sorted(state['files']) == ['model.safetensors', 'rng.safetensors']
    assert [path.name for path in tmp_path.iterdir()] == ['5']


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    file = _save(tmp_path) / 'model.safetensors'
    damaged = bytearray(file.read_bytes())
    damaged[1234] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(CheckpointIncompatible, match='model.safetensors has SHA-256'):
        verify_checkpoint(tmp_path / '5')


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = _save(tmp_path) / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointIncompatible, match='has 10239 bytes, expected 10240'):
        verify_checkpoint(tmp_path / '5')


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    (_save(tmp_path) / 'rng.safetensors').unlink()
    with pytest.raises(CheckpointIncompatible, match='rng.safetensors is missing'):
        verify_checkpoint(tmp_path / '5')


def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    state = json.loads((_save(tmp_path) / 'state.json').read_text())
    (tmp_path / 'secret').write_bytes(b'x')
    state['files']['../secret'] = {'sha256': 'a' * 64, 'bytes': 1}
    (tmp_path / '5' / 'state.json').write_text(json.dumps(state))
    (tmp_path / '5' / 'state.sha256').unlink()
    with pytest.raises(CheckpointIncompatible, match='secret is missing'):
        verify_checkpoint(tmp_path / '5')


@pytest.mark.parametrize('text', ['', '{}', '[1]', '{"files": 3}'])
def test_an_unreadable_state_is_refused(tmp_path: Path, text: str) -> None:
    (_save(tmp_path) / 'state.json').write_text(text)
    (tmp_path / '5' / 'state.sha256').unlink()
    with pytest.raises(CheckpointIncompatible, match='no readable state.json'):
        verify_checkpoint(tmp_path / '5')


@pytest.mark.parametrize('name', ['state.json', 'state.sha256'])
def test_a_flipped_bit_in_what_lists_the_files_is_refused(tmp_path: Path, name: str) -> None:
    file = _save(tmp_path) / name
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointIncompatible, match='another SHA-256 than state.sha256'):
            verify_checkpoint(tmp_path / '5')


def test_a_checkpoint_of_an_earlier_version_is_believed_without_a_seal(tmp_path: Path) -> None:
    (_save(tmp_path) / 'state.sha256').unlink()
    assert verify_checkpoint(tmp_path / '5')['step'] == 5


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    def fill(aside: Path) -> None:
        (aside / 'model.safetensors').write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space left'):
        save_checkpoint(tmp_path / '5', {}, fill)
    assert list(tmp_path.iterdir()) == []


def test_acknowledged_checkpoints_go_but_never_the_newest_two(tmp_path: Path) -> None:
    for step in (3, 6, 9, 12):
        (tmp_path / str(step)).mkdir()
    delete_acknowledged(tmp_path, [6, 9, 12], 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['12', '3', '9']
