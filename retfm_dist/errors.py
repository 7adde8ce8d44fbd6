"""Exceptions for mistakes that a user can make or fix.

Every message says what is wrong, where, what was found, what was expected and what to do next,
in one line. Commands print the message of a `RetfmError` and exit with code 1; any other
exception is a defect of ours and keeps its traceback.
"""

from pathlib import Path


class RetfmError(ValueError):
    """A mistake in the input, the configuration or the environment.

    Args:
        what: What is wrong, as a short clause without a full stop.
        where: File, dotted field, sample key or rank that it concerns.
        got: The value found.
        expected: The value or rule that would have been right.
        hint: What to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | Path | None = None,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        """Compose the one-line message from its parts; omitted parts leave no trace."""
        message = f"{where}: {what}" if where is not None else what
        if got is not None:
            message += f"; got {got}"
        if expected is not None:
            message += f", expected {expected}" if got is not None else f"; expected {expected}"
        if hint is not None:
            message += f"; {hint}"
        super().__init__(message)


class SystemFailureError(RetfmError):
    """A file or device that the operating system refuses: a full disk, a missing permission."""


def system_failure(error: OSError) -> SystemFailureError:
    """Return what the operating system refused as an error for the user."""
    return SystemFailureError(
        "cannot be read or written",
        where=error.filename,
        got=error.strerror or error,
        hint="check that the path exists, its permissions and the space left",
    )


class ConfigError(RetfmError):
    """A configuration file or override that cannot be used."""


class CohortError(RetfmError):
    """An archive table that cannot be used."""


class ImageError(RetfmError):
    """An image file that cannot be read or has no usable field of view."""


class ShardError(RetfmError):
    """A shard set that is incomplete, damaged or could not be written."""


class ModelError(RetfmError):
    """A model that cannot be built, or input that does not fit it."""


class DataError(RetfmError):
    """A data path that cannot give the batches asked for."""


class TooManyBadSamplesError(DataError):
    """More images than may be cannot be used."""


class CheckpointError(RetfmError):
    """A checkpoint or run directory that cannot be used."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint whose files do not match its manifest."""


class TrainError(RetfmError):
    """Training that cannot start or continue."""


class RepeatedFailureError(TrainError):
    """A restart after which the same thing would happen again."""


class ExportError(RetfmError):
    """An exported model that cannot be written or loaded."""


class EvaluateError(RetfmError):
    """An evaluation that cannot be done on the data given."""


class FieldOfViewError(ImageError):
    """A picture in which nothing looks like the round field of view of a fundus camera."""


class WorkerError(RetfmError):
    """A worker process that died."""
