"""The frame of the modules that a caller waits for: one configuration in, one JSON object out.

The last line of stdout is {"ok": true, …} or {"ok": false, "type", "message"}.
"""

import argparse
import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from trainer.memory import out_of_memory, size_of
from trainer.parent import end_with_parent
from trainer.reading import read_object

T = TypeVar('T')


class Refused(Exception):
    """A failure with one of the types of config/failures.ts, which no retry cures."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def say(value: object) -> None:
    """Prints one JSON line; a caller counts each as progress."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _os_failure(error: OSError, folder: Path) -> dict[str, Any]:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return {'ok': False, 'type': 'Failed', 'message': str(error)}
    free = size_of(shutil.disk_usage(folder).free)
    message = f'{error}; found {free} free at {folder}, expected more; free some space'
    return {'ok': False, 'type': 'DiskFull', 'message': message}


def run_module(config_class: type[T], work: Callable[[T], dict[str, Any]]) -> None:
    """Reads --config, runs `work` and prints its outcome; exits 1 when it failed."""
    end_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    path = parser.parse_args().config
    try:
        config = read_object(config_class, json.loads(Path(path).read_text('utf-8')), 'config')
        outcome = {'ok': True, **work(config)}
    except Refused as error:
        outcome = {'ok': False, 'type': error.kind, 'message': str(error)}
    except ValueError as error:
        outcome = {'ok': False, 'type': 'InvalidConfig', 'message': str(error)}
    except MemoryError:
        outcome = {'ok': False, 'type': 'OutOfMemory', 'message': out_of_memory()}
    except OSError as error:
        outcome = _os_failure(error, Path(path).resolve().parent)
    say(outcome)
    sys.exit(0 if outcome['ok'] else 1)
