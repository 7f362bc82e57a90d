"""How much memory a rank took, how much there is, and what to say when that is too little."""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROWS = 'rows'
_ADVICE = (
    'end other programs, use a machine with more memory, or give a smaller time budget, '
    'which plans a smaller model and batch'
)


def note_rows(run_dir: Path, rows: int) -> None:
    """Notes how many rows a step has at once, for whoever tells of a rank that was killed."""
    with suppress(OSError):
        (run_dir / _ROWS).write_text(str(rows))


def noted_rows(run_dir: Path) -> int | None:
    """What `note_rows` noted last; None before the first step."""
    try:
        return int((run_dir / _ROWS).read_text())
    except (OSError, ValueError):
        return None


def forget_rows(run_dir: Path) -> None:
    """An earlier trainer's note says nothing of this one."""
    (run_dir / _ROWS).unlink(missing_ok=True)


def parts(rows: int, size: int) -> Iterator[slice]:
    """The rows of a batch in micro-batches of that size, the last one perhaps smaller."""
    for at in range(0, rows, size):
        yield slice(at, min(rows, at + size))


def oom_kills(proc: Path = Path('/proc'), cgroups: Path = Path('/sys/fs/cgroup')) -> int:
    """Kills for want of memory so far: in our control group (v2), else on the whole machine."""
    events = _control_group(proc, cgroups) / 'memory.events'
    for path in (events, proc / 'vmstat'):
        try:
            counts = dict(line.split() for line in path.read_text('utf-8').splitlines())
            return int(counts['oom_kill'])
        except (OSError, ValueError, KeyError):
            continue
    return 0


def out_of_memory(peak_bytes: int | None = None) -> str:
    """What a rank took at its peak (this process unless given), what there is, what to change."""
    if peak_bytes is None:
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (
        f'the trainer took {size_of(peak_bytes)} of memory at its peak, '
        f'the machine has {size_of(_machine_bytes())} for all programs; {_ADVICE}'
    )


def size_of(count: int) -> str:
    """A number of bytes for people."""
    return f'{count / 1e9:.2f} GB' if count >= 1e9 else f'{count / 1e6:.1f} MB'


def require_room(parameters: int, what: str) -> None:
    """Refuses, before its weights are read, a model that this machine could not even hold."""
    # As it is read, and as it is written again, both in float32; and the libraries.
    needed, found = 8 * parameters + (1 << 29), _machine_bytes()
    if needed > found:
        raise ValueError(
            f'{what}: a model of {parameters / 1e6:.0f}M parameters takes {size_of(needed)} of '
            f'memory to import, the machine has {size_of(found)}, {size_of(needed - found)} too '
            'little; take a smaller base model, or a machine with more memory'
        )


def _control_group(proc: Path, cgroups: Path) -> Path:
    try:
        lines = (proc / 'self/cgroup').read_text('utf-8').splitlines()
    except OSError:
        return cgroups
    name = next((line[3:] for line in lines if line.startswith('0::')), '/')
    return cgroups / name.strip('/')


def _machine_bytes(proc: Path = Path('/proc'), cgroups: Path = Path('/sys/fs/cgroup')) -> int:
    first = (proc / 'meminfo').read_text('utf-8').split('\n', 1)[0]
    total = int(first.split()[1]) * 1024
    try:
        return min(total, int((_control_group(proc, cgroups) / 'memory.max').read_text('utf-8')))
    except (OSError, ValueError):
        return total
