"""What the matrix units of this machine give at most: the measure that utilisation is a share of.

Measured once for each device, precision and number of threads, by products of square matrices, and
kept in a file beside the runs. It is a figure for people: nothing that is trained depends on it.
"""

import json
import time
from pathlib import Path

from trainer.boundary import write_json

_WIDTHS = {'cpu': 2048, 'cuda': 8192}
_LIMIT_S = 1.0
_MAX_PRODUCTS = 20


def peak_key(device: str, precision: str, threads: int) -> str:
    """Names a measurement: `cpu bf16 2 threads`, `cuda bf16`."""
    return f'{device} {precision}' + (f' {threads} threads' if device == 'cpu' else '')


def peak_flops(file: Path | None, device: str, precision: str, threads: int) -> float:
    """Floating-point operations a second: as the file has it, else as measured now."""
    kept = _read(file)
    key = peak_key(device, precision, threads)
    if key in kept:
        return kept[key]
    found = measure_peak(device, precision, threads)
    if file is not None:
        try:
            write_json(file, {**kept, key: found})
        except OSError:
            pass  # A full disk costs the record, never the run.
    return found


def measure_peak(device: str, precision: str, threads: int) -> float:
    """The fastest of some products of two square matrices, 2·n³ operations each."""
    import torch

    if device == 'cpu':
        torch.set_num_threads(threads)
    width = _WIDTHS[device]
    dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
    # Ones, not random numbers: the generator must stand where training expects it.
    one = torch.ones((width, width), dtype=dtype, device=device)
    other = torch.ones((width, width), dtype=dtype, device=device)
    fastest = float('inf')
    started = time.perf_counter()
    for _ in range(_MAX_PRODUCTS):
        before = time.perf_counter()
        one @ other
        if device == 'cuda':
            torch.cuda.synchronize()
        now = time.perf_counter()
        fastest = min(fastest, now - before)
        if now - started > _LIMIT_S:
            break
    return 2 * width**3 / fastest


def _read(file: Path | None) -> dict[str, float]:
    try:
        value = json.loads(file.read_text('utf-8')) if file is not None else {}
        return {str(key): float(found) for key, found in value.items() if float(found) > 0}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
