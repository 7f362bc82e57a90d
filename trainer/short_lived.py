"""The frame of the modules that a caller waits for: one configuration in, one JSON object out.

The last line of stdout is {"ok": true, …} or {"ok": false, "type", "message"}.
"""

import argparse
import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from trainer.config import read_object
from trainer.parent import end_with_parent

T = TypeVar('T')


class Refused(Exception):
    """A failure with one of the types of config/failures.ts, which no retry cures."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def say(value: object) -> None:
    """Prints one JSON line; a caller counts each as progress."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


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
        outcome = {'ok': False, 'type': 'OutOfMemory', 'message': 'out of memory'}
    except OSError as error:
        kind = 'DiskFull' if error.errno == errno.ENOSPC else 'Failed'
        outcome = {'ok': False, 'type': kind, 'message': str(error)}
    say(outcome)
    sys.exit(0 if outcome['ok'] else 1)
