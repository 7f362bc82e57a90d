"""Ends this process when the process that wants its work is gone, so that nothing stays behind."""

import os
import threading
import time

_POLL_S = 0.5


def is_orphan() -> bool:
    """Whether the parent that TEMPER_PARENT_PID names is gone."""
    return os.getppid() != int(os.environ['TEMPER_PARENT_PID'])


def end_with_parent() -> None:
    """Watches the parent from a daemon thread and ends the process at once when it changes.

    TEMPER_PARENT_PID, set by the parent, closes the gap in which it dies before we look.
    """
    expected = int(os.environ.get('TEMPER_PARENT_PID', os.getppid()))

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name='parent-watch', daemon=True).start()
