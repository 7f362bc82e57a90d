"""Starts a phase under torchrun: `python -m trainer.launch --config run.json`.

One host needs no port: the ranks meet in files of the run directory and talk over loopback. The
allocator keeps what it was given, for returning it costs a fifth of the time in page faults.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

_MODULES = {'pretrain': 'trainer.pretrain', 'sft': 'trainer.sft', 'dpo': 'trainer.dpo'}
_KEEP = str(1 << 40)


def arguments(config: str, phase: str, ranks: int, meeting: Path) -> list[str]:
    """The arguments of torchrun."""
    return [
        '--nnodes=1',
        f'--nproc-per-node={ranks}',
        '--max-restarts=0',
        '--rdzv-backend=c10d',
        f'--rdzv-endpoint={meeting / "agents"}',
        '--rdzv-conf=store_type=file',
        '--rdzv-id=temper',
        '--local-addr=127.0.0.1',
        '-m',
        _MODULES[phase],
        '--config',
        config,
    ]


def environment(threads: int, meeting: Path) -> dict[str, str]:
    """What the ranks inherit: fixed threads, loopback, no network, and memory kept."""
    return {
        'OMP_NUM_THREADS': str(threads),
        'MKL_NUM_THREADS': str(threads),
        # A thread that spins for its partner takes the core that one waits for: without a bound,
        # steps on a busy machine were many times slower; with none at all, a third on a quiet one.
        'GOMP_SPINCOUNT': '4000',
        'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1',
        'GLOO_SOCKET_IFNAME': 'lo',
        'TEMPER_PARENT_PID': str(os.getpid()),
        'TEMPER_MEETING': str(meeting / 'ranks'),
        'HF_HUB_OFFLINE': '1',
        'HF_DATASETS_OFFLINE': '1',
        'TOKENIZERS_PARALLELISM': 'false',
        'CUDA_VISIBLE_DEVICES': '',
        'GLIBC_TUNABLES': ':'.join(
            (
                f'glibc.malloc.mmap_threshold={_KEEP}',
                f'glibc.malloc.trim_threshold={_KEEP}',
                'glibc.malloc.hugetlb=1',
            )
        ),
    }


def main() -> None:
    """Reads the phase and the number of ranks, then becomes torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    config = parser.parse_args().config
    run = json.loads(Path(config).read_text('utf-8'))
    recipe = run['recipe']
    meeting = Path(tempfile.mkdtemp(prefix='temper-meeting-'))
    os.environ.update(environment(recipe['threads'], meeting))
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments(config, recipe['phase'], recipe['worldSize'], meeting))
    except ChildFailedError as error:
        sys.exit(f'a rank failed: {error.failures}; result.json says why, if it could be written')
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
