"""The main of a phase, as each rank runs it."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from trainer.boundary import Busy, RunDirectory, refuse
from trainer.config import load_run
from trainer.endings import Left, result_of
from trainer.failures import first_failure, tell_failure
from trainer.follower import Follower
from trainer.leader import Leader
from trainer.parent import end_with_parent
from trainer.session import Session


def run_phase(phase: str, train: Callable[[Session], None]) -> None:
    """Reads --config, trains in the run directory, leaves a result there."""
    # Under torchrun an orphaned rank would go on beside the next generation's.
    if 'TEMPER_PARENT_PID' in os.environ:
        end_with_parent()
    path = _config_path()
    try:
        run = load_run(path, phase)
    except ValueError as error:
        refuse(path, str(error))
    leads = int(os.environ.get('RANK', '0')) == 0
    if not leads and (run.gang is None or int(os.environ['LOCAL_RANK']) > 0):
        follower = Follower(run)
        try:
            train(follower)
        except Left:
            pass
        except Exception as error:
            result = result_of(error, run, follower.step, follower.rows_at_once)
            tell_failure(Path(run.runDir), result)
            raise
        return
    try:
        directory = RunDirectory(run.runDir, run.recipe.unwatchedExitS)
    except Busy as error:
        sys.exit(str(error))
    session = Leader(run, directory) if leads else Follower(run, directory)
    try:
        train(session)
    except Exception as error:
        result = result_of(error, run, session.step, session.rows_at_once)
        kind, message = result['type'], result['message']
        # The loss of another rank: that one knows why.
        other = first_failure(directory.path) if kind == 'Failed' else None
        directory.finish(other or result)
        if not isinstance(error, Left):
            if kind == 'Failed':
                raise
            sys.exit(f'{kind}: {message}')


def _config_path() -> str:
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    return parser.parse_args().config
