"""`manifest.json`: contents of a shard set, and the marker that it is complete.

It is written last and holds the size and sha256 of every other file, the build parameters and a
fingerprint over all of that. The file is canonical JSON: any other rendering of the same values
is refused, so that no flipped bit in it can pass unseen.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retfm_dist.durable import write_text
from retfm_dist.errors import ShardError

MANIFEST_NAME = "manifest.json"
FORMAT = "retfm-shards"
VERSION = 1
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ShardEntry:
    """One tar of the set.

    Attributes:
        name: File name of the tar, "000000.tar".
        num_bytes: Its size.
        sha256: Hex digest of its bytes.
        num_samples: Number of samples in it.
    """

    name: str
    num_bytes: int
    sha256: str
    num_samples: int

    @property
    def index_name(self) -> str:
        """File name of the binary sample index, "000000.samples"."""
        return f"{Path(self.name).stem}.samples"

    @property
    def dali_index_name(self) -> str:
        """File name of DALI's text index, "000000.idx"."""
        return f"{Path(self.name).stem}.idx"


@dataclass(frozen=True)
class FileEntry:
    """One file of the set that is not a tar: an index, a table or a report.

    Attributes:
        name: File name.
        num_bytes: Its size.
        sha256: Hex digest of its bytes.
    """

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A shard set, as its `manifest.json` describes it.

    Attributes:
        shards: The tars, in the order of their numbers; sample positions count through them.
        num_samples: Number of samples in the set.
        build: Parameters and totals of the build, as JSON values.
        fingerprint: Hex sha256 over everything else in the manifest; names the set's content.
        files: All other files of the set, sorted by name.
    """

    shards: tuple[ShardEntry, ...]
    num_samples: int
    build: Mapping[str, Any]
    fingerprint: str
    files: tuple[FileEntry, ...] = ()


def write_manifest(
    shard_dir: Path,
    *,
    shards: Sequence[ShardEntry],
    files: Sequence[FileEntry],
    build: Mapping[str, Any],
) -> Manifest:
    """Write `manifest.json`; the set counts as complete from then on."""
    body = {
        "format": FORMAT,
        "version": VERSION,
        "num_samples": sum(shard.num_samples for shard in shards),
        "shards": [asdict(shard) for shard in shards],
        "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)],
        "build": dict(build),
    }
    body["fingerprint"] = _fingerprint(body)
    write_text(shard_dir / MANIFEST_NAME, _render(body))
    return _parse(body)


def read_manifest(shard_dir: Path) -> Manifest:
    """Read `manifest.json` and see that every file it lists is there.

    Files are looked up by name only; `retfm_dist.shard.verify` checks sizes and hashes.

    Raises:
        ShardError: The manifest is missing, damaged or of another version, or a file is absent.
    """
    path = shard_dir / MANIFEST_NAME
    try:
        text = path.read_bytes().decode("ascii")
        body = json.loads(text)
    except OSError as error:
        raise ShardError(
            "not a complete shard set: its manifest cannot be read",
            where=path,
            got=error.strerror,
            hint="name a directory that `python -m retfm_dist.shard build` has finished",
        ) from error
    except ValueError as error:
        raise _damaged(path, "text that is not JSON") from error
    _check_body(path, body, text)
    manifest = _parse(body)
    _check_names(shard_dir, manifest)
    return manifest


def _check_body(path: Path, body: Any, text: str) -> None:
    """Refuse a manifest of another format, or whose bytes are not those that were written."""
    if not isinstance(body, dict) or "fingerprint" not in body:
        raise _damaged(path, "JSON without a fingerprint")
    found = (body.get("format"), body.get("version"))
    if found != (FORMAT, VERSION):
        raise ShardError(
            "the manifest has another format",
            where=path,
            got=f"{found[0]} {found[1]}",
            expected=f"{FORMAT} {VERSION}",
        )
    content = {name: value for name, value in body.items() if name != "fingerprint"}
    if body["fingerprint"] != _fingerprint(content) or text != _render(body):
        raise _damaged(path, "content that does not match its fingerprint")


def _check_names(shard_dir: Path, manifest: Manifest) -> None:
    """Refuse a set that lacks a file, or lists one outside its directory."""
    names = [shard.name for shard in manifest.shards] + [file.name for file in manifest.files]
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            raise ShardError(
                "the manifest lists a name that is not a plain file name",
                where=shard_dir,
                got=repr(name),
            )
    missing = sorted(set(names) - {entry.name for entry in os.scandir(shard_dir)})
    if missing:
        raise ShardError(
            "files of the shard set are missing",
            where=shard_dir,
            got=f"{len(missing)} of {len(names)} absent, the first is {missing[0]}",
            hint="copy the set again or build it again",
        )


def _damaged(path: Path, got: str) -> ShardError:
    return ShardError(
        "the manifest is damaged", where=path, got=got, hint="copy or build the set again"
    )


def _parse(body: Mapping[str, Any]) -> Manifest:
    """Turn the JSON of a manifest whose fingerprint is right into values."""
    return Manifest(
        shards=tuple(ShardEntry(**entry) for entry in body["shards"]),
        num_samples=body["num_samples"],
        build=body["build"],
        fingerprint=body["fingerprint"],
        files=tuple(FileEntry(**entry) for entry in body["files"]),
    )


def _render(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _fingerprint(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
