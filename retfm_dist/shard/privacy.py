"""Prove that a finished shard set holds none of the private values of its archive table.

What this project writes in a fixed form (keys, hashes, headers, the JPEGs' structure) is checked
to have that form and to be no plain hash of an identifier. All other text is searched for every
private value, as it is and in the usual encodings. Pixels are not read.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retfm_dist.cohort.columns import PACKED_COLUMNS
from retfm_dist.cohort.private import PrivateValues, collect_private
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.console import track
from retfm_dist.errors import ShardError
from retfm_dist.image.jpeg_header import is_picture_alone
from retfm_dist.shard.manifest import MANIFEST_NAME, Manifest, read_manifest
from retfm_dist.shard.sample import RESERVED_COLUMNS, SIDECAR_FIELDS
from retfm_dist.shard.set_index import SET_INDEX_NAME
from retfm_dist.shard.tar import BLOCK_BYTES, Member, read_members, render_header
from retfm_dist.shard.write import TABLE_NAME

_NUM_SHOWN = 5
_FREE_TEXT = frozenset(column.name for column in PACKED_COLUMNS if column.packed_as == "text")
# Text that we derive, by field: its form is checked and its content is not searched, since short
# identifiers stand in long hashes by chance.
_FORMS = {
    "uid": re.compile(r"[0-9a-f]{16}|[0-9]{1,20}"),
    "key": re.compile(r"[0-9a-f]{12}-[0-9a-f]{16}"),
    "shard": re.compile(r"[0-9]{6}\.tar"),
    "subject_id": re.compile(r"[0-9a-f]{12}"),
    "kind": re.compile(r"circle|frame|strokes"),
    "source_sha256": re.compile(r"[0-9a-f]{64}"),
    "perceptual_hash": re.compile(r"[0-9a-f]{64}"),
}
_DERIVED_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
_SHARD_FILE = re.compile(r"[0-9]{6}\.(tar|idx|samples)")
_OTHER_FILES = frozenset(
    {
        MANIFEST_NAME,
        SET_INDEX_NAME,
        TABLE_NAME,
        "rejects.csv",
        "duplicates.csv",
        "cohort.json",
        "cohort.md",
    }
)


@dataclass
class _Search:
    """What is searched for, and what was found: places and kinds, never values."""

    private: PrivateValues
    plain_hashes: frozenset[str]
    found: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def text(self, text: object, where: str) -> None:
        """Search a text for private values; each text is searched once."""
        words = str(text)
        if words in self._seen:
            return
        what = self.private.find(words)
        if what is None:
            self._seen.add(words)
        else:
            self.add(f"{where} holds {what}")

    def derived(self, name: str, value: object, where: str) -> None:
        """Check the form of a value that we derive."""
        text = str(value)
        if not _FORMS[name].fullmatch(text):
            self.add(f"{where}: {name} has another form than we write")
        elif name == "subject_id" and text in self.plain_hashes:
            self.add(f"{where}: {name} is a plain hash of a patient number, without salt")

    def add(self, what: str) -> None:
        """Count a find."""
        self.found[what] = self.found.get(what, 0) + 1


def check_privacy(
    shard_dir: Path, records: Sequence[ImageRecord], *, logs: Iterable[Path] = ()
) -> int:
    """Search a set, and logs of jobs, for the private values of its archive table.

    Args:
        shard_dir: The set.
        records: Rows of the table.
        logs: Text files that are searched as well.

    Returns:
        Number of different values that were searched for.

    Raises:
        ShardError: One was found, or the set holds something that this project does not write.
    """
    manifest = read_manifest(shard_dir)
    search = _Search(collect_private(records), _plain_hashes(records))
    for entry in sorted(os.scandir(shard_dir), key=lambda entry: entry.name):
        if entry.name not in _OTHER_FILES and not _SHARD_FILE.fullmatch(entry.name):
            search.add(f"a file that is no part of a set, {len(entry.name)} characters long")
    for shard in track(manifest.shards, description="searching shards", total=len(manifest.shards)):
        _search_tar(shard_dir / shard.name, search)
    _search_table(shard_dir, search)
    _search_reports(shard_dir, manifest, search)
    for path in logs:
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            search.text(line, f"{path}: line {number}")
    if search.found:
        shown = "; ".join(list(search.found)[:_NUM_SHOWN])
        more = len(search.found) - _NUM_SHOWN
        raise ShardError(
            "private values came out",
            where=shard_dir,
            got=f"{shown}; and {more} more" if more > 0 else shown,
            hint="do not pass the set on; clean the table's columns and build again",
        )
    return len(search.private.origins)


def _plain_hashes(records: Sequence[ImageRecord]) -> frozenset[str]:
    """Return what unsalted pseudonyms of the patients would be."""
    ids = {record.patient_id.encode("utf-8") for record in records}
    return frozenset(
        hashlib.new(name, id_).hexdigest()[:12]
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b")
        for id_ in ids
    )


def _search_tar(path: Path, search: _Search) -> None:
    """Check every byte of a tar that is not entropy-coded pixels."""
    with path.open("rb") as file:
        descriptor, end = file.fileno(), 0
        for member in read_members(path):
            where = path.name
            header = os.pread(descriptor, BLOCK_BYTES, member.offset - BLOCK_BYTES)
            if header != render_header(member.name, member.size):
                search.add(f"{where}: a tar header is not as we write it")
            search.derived("key", member.key, where)
            end = member.offset + member.size
            data = os.pread(descriptor, member.size, member.offset)
            padding = os.pread(descriptor, -member.size % BLOCK_BYTES, end)
            if any(padding):
                search.add(f"{where}: bytes between members")
            _search_member(member, data, search, where)
        if any(os.pread(descriptor, 1 << 20, end + -end % BLOCK_BYTES)):
            search.add(f"{path.name}: bytes after the last member")


def _search_member(member: Member, data: bytes, search: _Search, where: str) -> None:
    if member.extension == "json":
        _search_facts(data, search, where)
    elif not is_picture_alone(data):
        search.add(f"{where}: a JPEG with more than its picture")


def _search_facts(data: bytes, search: _Search, where: str) -> None:
    """Search a sample's JSON."""
    facts = json.loads(data)
    written = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")
    if set(facts) != SIDECAR_FIELDS or written != data:
        search.add(f"{where}: a sample's JSON is not as we write it")
    for name, value in facts.items():
        if name in _FORMS:
            search.derived(name, value, where)
        elif name == "labels":
            for label, text in value.items():
                search.text(f"{label} {text}", f"{where}: {label}")
        elif isinstance(value, str):
            search.text(value, f"{where}: {name}")


def _search_table(shard_dir: Path, search: _Search) -> None:
    """Search samples.parquet: its metadata, the names of its columns, its values."""
    import pyarrow.parquet as pq

    path = shard_dir / TABLE_NAME
    metadata = pq.read_metadata(path).metadata or {}
    for key, value in metadata.items():
        if key != b"ARROW:schema":
            search.text(f"{key!r} {value!r}", f"{TABLE_NAME}: metadata")
    table = pq.read_table(path)
    for name in table.column_names:
        search.text(name, f"{TABLE_NAME}: name of a column")
        if name in RESERVED_COLUMNS and name not in _FORMS and name not in _FREE_TEXT:
            continue  # numbers
        for value in table[name].unique().to_pylist():
            if value is None:
                continue
            if name in _FORMS:
                search.derived(name, value, TABLE_NAME)
            else:
                search.text(value, f"{TABLE_NAME}: {name}")


def _search_reports(shard_dir: Path, manifest: Manifest, search: _Search) -> None:
    """Search manifest, lists and composition."""
    for text in _strings(manifest.build):
        if not _DERIVED_HEX.fullmatch(text):
            search.text(text, MANIFEST_NAME)
    for name in ("rejects.csv", "duplicates.csv"):
        if (shard_dir / name).exists():  # not in a set of an earlier release
            _search_list(shard_dir / name, search)
    for text in _strings(json.loads((shard_dir / "cohort.json").read_text("utf-8"))):
        search.text(text, "cohort.json")
    for line in (shard_dir / "cohort.md").read_text("utf-8").splitlines():
        search.text(line, "cohort.md")


def _search_list(path: Path, search: _Search) -> None:
    """Search a CSV file of ours."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for column, value in row.items():
                if column == "subject_id":
                    search.derived(column, value, path.name)
                else:
                    search.text(value, f"{path.name}: {column}")


def _strings(value: Any) -> Iterator[str]:
    """Yield every text in JSON values, keys included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
