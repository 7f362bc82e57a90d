"""Damages a checkpoint over and over, and counts how often the trainer refuses to load it.

`python -m bench.support.damages --folder DIR --damages N`: each damage is a file cut short or one
bit flipped in it, at places that a fixed seed chooses; the file is mended after each. One JSON
object.
"""

import argparse
import json
import random
from pathlib import Path

from trainer.checkpoint import verify_checkpoint


def main() -> None:
    """Prints how many damages were refused, and which were not."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--damages', type=int, required=True)
    options = parser.parse_args()
    verify_checkpoint(options.folder)
    # Every byte alike, so that the large files of weights and moments are not the rare ones.
    files = sorted(path for path in options.folder.iterdir() if path.stat().st_size > 0)
    short = [path for path in files if path.name in ('state.json', 'state.sha256')]
    chance = random.Random(0)
    accepted = []
    for number in range(options.damages):
        # What lists the files is short: it takes every tenth damage whatever its size.
        path = chance.choice(short) if number % 10 == 0 else _pick(files, chance)
        told = _damage(path, chance, cut=chance.random() < 0.5)
        if told is not None:
            accepted.append(told)
    verify_checkpoint(options.folder)
    refused = options.damages - len(accepted)
    print(json.dumps({'refused': refused, 'damages': options.damages, 'accepted': accepted}))


def _pick(files: list[Path], chance: random.Random) -> Path:
    return chance.choices(files, weights=[path.stat().st_size for path in files])[0]


def _damage(path: Path, chance: random.Random, *, cut: bool) -> str | None:
    """Damages a file, looks, and mends it; what was accepted, in words, or None."""
    size = path.stat().st_size
    place = chance.randrange(size)
    with path.open('r+b') as file:
        file.seek(place)
        rest = file.read() if cut else file.read(1)
        file.seek(place)
        if cut:
            file.truncate()
            told = f'{path.name} cut to {place} of {size} bytes'
        else:
            bit = chance.randrange(8)
            file.write(bytes([rest[0] ^ (1 << bit)]))
            told = f'{path.name} with bit {bit} of byte {place} flipped'
    try:
        verify_checkpoint(path.parent)
    except Exception:
        return None
    else:
        return told
    finally:
        with path.open('r+b') as file:
            file.seek(place)
            file.write(rest)


if __name__ == '__main__':
    main()
