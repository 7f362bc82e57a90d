"""What ranks failed with that write no result: whoever writes that of their host tells it.

The rank that fails first takes the others down with it; what those say is that it is gone.
"""

import json
import os
from pathlib import Path
from typing import Any

from trainer.boundary import write_json

_PATTERN = 'failed-*.json'


def tell_failure(run_dir: Path, result: dict[str, Any]) -> None:
    """Leaves what this rank failed with, in the form of a result."""
    write_json(run_dir / f'failed-{os.environ.get("RANK", "0")}.json', result)


def first_failure(run_dir: Path) -> dict[str, Any] | None:
    """What was left first; None where nothing was."""
    found = []
    for path in run_dir.glob(_PATTERN):
        try:
            found.append((path.stat().st_mtime_ns, path.name, json.loads(path.read_text('utf-8'))))
        except (OSError, ValueError):
            continue  # Torn, or taken away by a later trainer.
    return min(found)[2] if found else None


def forget_failures(run_dir: Path) -> None:
    """What an earlier trainer failed with says nothing of this one."""
    for path in run_dir.glob(_PATTERN):
        path.unlink(missing_ok=True)
