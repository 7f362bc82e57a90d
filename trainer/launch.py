"""Starts a phase under torchrun: `python -m trainer.launch --config run.json`.

One host needs no port: the ranks meet in files of the run directory, where all scratch lies, and
talk over loopback. Several hosts meet where run.json says. The allocator keeps what it was given,
for returning it costs a fifth of the time in page faults. A rank that the kernel killed for want
of memory gets its result from here.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.boundary import last_step, refuse, write_json
from trainer.config import Gang
from trainer.failures import first_failure, forget_failures
from trainer.kills import Death, KillWatch
from trainer.memory import forget_rows, noted_rows, out_of_memory
from trainer.peak import peak_flops
from trainer.reading import read_object

_MODULES = {phase: f'trainer.{phase}' for phase in ('pretrain', 'sft', 'dpo', 'orpo')}
_KEEP = str(1 << 40)
# For a rank that saves because nobody watches; the lease of the host lasts longer.
_UNWATCHED_GRACE_S = 30.0


def arguments(
    config: str, phase: str, world_size: int, scratch: Path, gang: Gang | None
) -> list[str]:
    """The arguments of torchrun."""
    if gang is None:
        meeting = [
            '--nnodes=1',
            '--rdzv-backend=c10d',
            f'--rdzv-endpoint={scratch / "agents"}',
            '--rdzv-conf=store_type=file',
            '--rdzv-id=temper',
            '--local-addr=127.0.0.1',
        ]
    else:
        meeting = [
            f'--nnodes={gang.numHosts}',
            '--rdzv-backend=temper',
            f'--rdzv-endpoint={gang.address}:{gang.port}',
            f'--rdzv-id={gang.meeting}',
            f'--local-addr={gang.localAddress}',
        ]
    num_hosts = 1 if gang is None else gang.numHosts
    return [
        *meeting,
        f'--nproc-per-node={world_size // num_hosts}',
        '--max-restarts=0',
        '-m',
        _MODULES[phase],
        '--config',
        config,
    ]


def environment(threads: int, scratch: Path, interface: str, device: str) -> dict[str, str]:
    """What the ranks inherit: fixed threads, one network interface, scratch, and memory kept."""
    return {
        **(_gpu_environment(interface) if device == 'cuda' else {'CUDA_VISIBLE_DEVICES': ''}),
        'OMP_NUM_THREADS': str(threads),
        'MKL_NUM_THREADS': str(threads),
        # A thread that spins for its partner takes the core that one waits for: without a bound,
        # steps on a busy machine were many times slower; with none at all, a third on a quiet one.
        'GOMP_SPINCOUNT': '4000',
        'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1',
        'GLOO_SOCKET_IFNAME': interface,
        'TEMPER_PARENT_PID': str(os.getpid()),
        'TEMPER_MEETING': str(scratch / 'ranks'),
        'TMPDIR': str(scratch),
        'HF_HUB_OFFLINE': '1',
        'HF_DATASETS_OFFLINE': '1',
        'TOKENIZERS_PARALLELISM': 'false',
        'GLIBC_TUNABLES': ':'.join(
            (
                f'glibc.malloc.mmap_threshold={_KEEP}',
                f'glibc.malloc.trim_threshold={_KEEP}',
                'glibc.malloc.hugetlb=1',
            )
        ),
    }


def _gpu_environment(interface: str) -> dict[str, str]:
    """One order of every sum: of cuBLAS by its own workspaces, of NCCL by one algorithm."""
    return {
        'CUBLAS_WORKSPACE_CONFIG': ':4096:8',
        # One sign more than the shell's: exactly this interface, not all that begin so.
        'NCCL_SOCKET_IFNAME': f'={interface}',
        'NCCL_ALGO': 'Ring',
        'NCCL_PROTO': 'Simple',
    }


def end_unwatched(run_dir: Path, limit_s: float) -> None:
    """Ends this process, and with it its ranks, when nobody has watched it for so long.

    Who waits for another host cannot look after that itself.
    """

    def watch() -> None:
        watched_at, seen = time.monotonic(), None
        while time.monotonic() - watched_at < limit_s:
            time.sleep(1)
            with suppress(OSError):
                touched = (run_dir / 'control.json').stat().st_mtime_ns
                if touched != seen:
                    watched_at, seen = time.monotonic(), touched
        os._exit(1)

    threading.Thread(target=watch, name='unwatched', daemon=True).start()


def explain_death(run_dir: Path, deaths: list[Death], kills: KillWatch) -> None:
    """Writes the result of a rank that was killed for want of memory and could not write its own.

    A rank that somebody else killed gets none: a new one may go on.
    """
    if (run_dir / 'result.json').exists():
        return
    if not kills.killed_for_memory(deaths):
        return
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    message = f'the kernel killed the trainer for want of memory: {out_of_memory(peak_bytes)}'
    step = last_step(run_dir)
    rows = noted_rows(run_dir)
    told = {} if rows is None else {'rows': rows}
    result = {'ok': False, 'type': 'OutOfMemory', 'message': message, 'step': step, **told}
    write_json(run_dir / 'result.json', result)


def hand_on_failure(run_dir: Path, exit_codes: list[int]) -> None:
    """Makes what another rank failed with the result, where the first one could write none."""
    failure = first_failure(run_dir)
    if failure is None or (run_dir / 'result.json').exists():
        return
    # Beside a rank that somebody killed, the others fail for want of it.
    if failure['type'] != 'Failed' or -signal.SIGKILL not in exit_codes:
        write_json(run_dir / 'result.json', failure)


def _death_of(failure: Any) -> Death:
    """As torchrun noticed it: before it ended the other ranks, which may take half a minute."""
    ago = min(max(0.0, time.time() - failure.timestamp), time.monotonic())
    return Death(pid=failure.pid, exit_code=failure.exitcode, at=time.monotonic() - ago)


def _peak(run: dict[str, Any]) -> float:
    """What all ranks together could compute, in operations a second."""
    recipe, file = run['recipe'], run.get('peakFile')
    if recipe.get('device') == 'cuda':
        return 0.0  # Rank 0 measures its GPU.
    num_hosts = (run.get('gang') or {}).get('numHosts', 1)
    threads = recipe['threads'] * recipe['worldSize'] // num_hosts
    # The ranks share this machine, so what all of its threads give is for all of them.
    path = None if file is None else Path(file)
    return num_hosts * peak_flops(path, 'cpu', recipe['precision'], threads)


def main() -> None:
    """Reads the phase and the number of ranks, then becomes torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    config = parser.parse_args().config
    run = json.loads(Path(config).read_text('utf-8'))
    recipe = run['recipe']
    run_dir = Path(run['runDir']).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    forget_rows(run_dir)
    forget_failures(run_dir)
    # In a folder of its own: a second launcher must not take away what the first one uses.
    scratch = Path(tempfile.mkdtemp(prefix='scratch-', dir=run_dir))
    device = recipe.get('device', 'cpu')
    os.environ.update(environment(recipe['threads'], scratch, 'lo', device))
    os.environ['TEMPER_PEAK_FLOPS'] = str(_peak(run))
    kills = KillWatch()
    kills.start()
    gang = None
    if run.get('gang') is not None:
        from trainer.meeting import interface_of, teach_torchrun

        try:
            gang = read_object(Gang, run['gang'], 'gang')
            interface = interface_of(gang.localAddress)
            os.environ.update(environment(recipe['threads'], scratch, interface, device))
        except ValueError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            refuse(config, str(error))
        teach_torchrun(gang)
        end_unwatched(run_dir, recipe['unwatchedExitS'] + _UNWATCHED_GRACE_S)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments(config, recipe['phase'], recipe['worldSize'], scratch, gang))
    except ChildFailedError as error:
        deaths = [_death_of(failure) for failure in error.failures.values()]
        explain_death(run_dir, deaths, kills)
        hand_on_failure(run_dir, [death.exit_code for death in deaths])
        sys.exit(f'a rank failed: {error.failures}; result.json says why, if it could be written')
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
