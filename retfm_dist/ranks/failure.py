"""One error message per failure, however many ranks it ends."""

import contextlib
import time
from collections.abc import Callable, Iterator

from retfm_dist.errors import RetfmError, TrainError, system_failure
from retfm_dist.ranks.world import Ranks

_GRACE_S = 10.0
# As gloo says it, and as NCCL does: another process ended, its network failed, or a watchdog took
# the communicator down.
_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "remote process exited",
    "ncclRemoteError",
    "ncclSystemError",
    "NCCL communicator was aborted",
    "Watchdog caught collective operation timeout",
)


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error says no more than that another rank has gone."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST_PEER)


@contextlib.contextmanager
def failing_once(ranks: Ranks, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Report a failure once, from the rank that knows its reason.

    A mistake that all ranks find is raised at once on the main rank; the launcher then ends the
    others while they wait here. A rank that alone found one, or alone survived another's end,
    raises when nobody has ended it meanwhile.

    Args:
        ranks: Which rank this is.
        sleep: Waits so many seconds.

    Raises:
        SystemFailureError: The operating system refused a file or a device.
        TrainError: Another rank has gone, without the launcher noticing in time.
    """
    try:
        yield
    except RetfmError:
        if not ranks.is_main:
            sleep(_GRACE_S)
        raise
    except OSError as error:
        if not ranks.is_main:
            sleep(_GRACE_S)
        raise system_failure(error) from error
    except RuntimeError as error:
        if not is_lost_rank(error):
            raise
        sleep(_GRACE_S)
        raise TrainError(
            "another rank has exited",
            where=f"rank {ranks.rank}",
            hint="its own message, above or in its host's log, says why",
        ) from error
