"""Telling a full disk from other failures."""

import errno


class DiskFull(Exception):
    """There is no room for what must be written."""


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space; safetensors wraps the system's error in its own."""
    if isinstance(error, DiskFull):
        return True
    code = getattr(error, 'errno', None)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return True
    return 'No space left on device' in str(error) or 'os error 28' in str(error)
