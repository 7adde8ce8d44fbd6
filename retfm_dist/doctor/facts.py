"""What one host says of itself."""

import os
import resource
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.data.loader import build_loader
from retfm_dist.data.open_sets import open_shard_sets
from retfm_dist.data.shard_set import fingerprint_of
from retfm_dist.errors import RetfmError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.environment import COMPUTE_LIBRARIES
from retfm_dist.versions import software_versions
from retfm_dist.workers import usable_cores

# DeepSpeed's launcher puts variables of these names on the command line of every host.
# Source: DeepSpeed 0.19.8, launcher/runner.py, EXPORT_ENVS and the accelerator's own.
_EXPORTED = ("MLFLOW", "PYTHON", "MV2", "UCX", "NCCL")
_SECRET = ("TOKEN", "PASSWORD", "SECRET", "CREDENTIAL", "API_KEY")
_DEEPSPEED_ENV = ".deepspeed_env"


@dataclass(frozen=True)
class HostFacts:
    """What one host says of itself.

    Attributes:
        host: Its name.
        versions: Of the libraries that numbers depend on.
        accelerators: Names of its GPUs.
        fingerprint: Of the shard set; None where it cannot be read.
        data_error: Why not.
        images_per_s: Rate at which it decodes, all threads of one rank; None where not measured.
        free_bytes: On the file system of the run directory.
        offload_free_bytes: On that of engine.offload_dir; None where there is no such directory.
        offload_file_system: Its type, such as "ext4"; None where it is not known.
        is_one_disk: Whether that of the run and that of engine.offload_dir are the same.
        open_files: Limit of this process.
        num_cores: Cores that a process started here may use.
        exported_secrets: Names of variables that hold a secret and that the launcher shows.
        is_loopback: Whether its own name leads to 127.0.0.1, where no other host reaches it.
        has_interface: Whether the variables that choose a network interface are set.
    """

    host: str
    versions: dict[str, str]
    accelerators: tuple[str, ...]
    fingerprint: str | None
    data_error: str | None
    images_per_s: float | None
    free_bytes: int
    offload_free_bytes: int | None
    offload_file_system: str | None
    is_one_disk: bool
    open_files: int
    num_cores: int
    exported_secrets: tuple[str, ...]
    is_loopback: bool
    has_interface: bool


def collect_facts(config: PretrainConfig, *, decode_s: float) -> HostFacts:
    """Return the facts of this host.

    Args:
        config: The run.
        decode_s: How long to measure decoding; 0 leaves it out.
    """
    fingerprint, data_error, images_per_s = None, None, None
    try:
        sets = open_shard_sets(config)
        fingerprint = fingerprint_of(sets)
        for shard_set in sets:
            shard_set.close()
        images_per_s = measure_decoding(config, seconds=decode_s) if decode_s else None
    except (RetfmError, OSError) as error:
        data_error = str(error)
    offload_dir = config.engine.offload_dir
    if offload_dir is not None and not offload_dir.is_dir():
        offload_dir = None
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return HostFacts(
        host=socket.gethostname(),
        versions=software_versions(*COMPUTE_LIBRARIES),
        accelerators=tuple(torch.cuda.get_device_name(gpu) for gpu in gpus),
        fingerprint=fingerprint,
        data_error=data_error,
        images_per_s=images_per_s,
        free_bytes=free_bytes(config.run.dir),
        offload_free_bytes=None if offload_dir is None else free_bytes(offload_dir),
        offload_file_system=None if offload_dir is None else file_system_of(offload_dir),
        is_one_disk=offload_dir is not None and _are_one_disk(config.run.dir, offload_dir),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        num_cores=usable_cores(),
        exported_secrets=exported_secrets(os.environ, _env_files()),
        is_loopback=_leads_to_itself(socket.gethostname()),
        has_interface=bool({"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"} & os.environ.keys()),
    )


def measure_decoding(config: PretrainConfig, *, seconds: float) -> float:
    """Return images per second of the run's own loader as one rank, on its CPU back end.

    Args:
        config: The run.
        seconds: How long; the first batch, which opens and allocates, is left out.
    """
    loader = build_loader(config, ranks=Ranks(), device=torch.device("cpu"))
    try:
        batches = iter(loader.batches(0, 1 << 30))
        next(batches)
        begun_at, num_images = time.monotonic(), 0
        for batch in batches:
            num_images += len(batch.images)
            if (elapsed_s := time.monotonic() - begun_at) >= seconds:
                return num_images / elapsed_s
    finally:
        loader.close()
    raise AssertionError("a loader came to its end")


def free_bytes(path: Path) -> int:
    """Return the space that a user has on the file system of a path that may not exist yet."""
    found = os.statvfs(_existing(path))
    return found.f_bavail * found.f_frsize


def file_system_of(path: Path) -> str | None:
    """Return the type of the file system that a path is on, or None where Linux does not tell."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    # "36 35 98:0 /root /mount options [optional fields] - type source options", see proc(5).
    mounts = (line.split() for line in lines)
    return next((words[words.index("-") + 1] for words in mounts if words[2] == number), None)


def exported_secrets(variables: Mapping[str, str], env_files: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of secrets that DeepSpeed's launcher puts on every host's command line.

    Args:
        variables: The environment.
        env_files: Files of `NAME=value` lines whose variables it exports too.
    """
    exported = {name for name in variables if name.startswith(_EXPORTED)}
    for path in env_files:
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            exported |= {line.partition("=")[0].strip() for line in lines if "=" in line}
    return tuple(sorted(n for n in exported if any(word in n.upper() for word in _SECRET)))


def _existing(path: Path) -> Path:
    """Return a path, or the nearest directory above it that exists."""
    return next(parent for parent in (path, *path.resolve().parents) if parent.exists())


def _are_one_disk(path: Path, other: Path) -> bool:
    """Return whether two paths are on one file system."""
    return _existing(path).stat().st_dev == _existing(other).stat().st_dev


def _env_files() -> list[Path]:
    return [Path(_DEEPSPEED_ENV), Path.home() / _DEEPSPEED_ENV]


def _leads_to_itself(name: str) -> bool:
    try:
        return socket.gethostbyname(name).startswith("127.")
    except OSError:
        return False
