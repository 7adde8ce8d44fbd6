"""Write a synthetic cohort: pictures, archive table, and what was planted.

    DIR/images/H000012_left.jpg    pictures, both eyes of every patient
    DIR/cohort.csv                 archive table, one row per picture
    DIR/planted.json               the cohort's parameters: the known truth

The directory appears under its name only when it is whole. Every picture is a pure function of
the seed, the patient and the eye: neither the cohort's size nor the number of processes matters.
"""

import csv
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retfm_dist.cohort.columns import ARCHIVE_COLUMNS, LABEL_PREFIX
from retfm_dist.cohort.records import Eye
from retfm_dist.console import track
from retfm_dist.directories import staged_directory
from retfm_dist.durable import open_atomic, write_json
from retfm_dist.errors import CohortError
from retfm_dist.synth.cohort import (
    EYES,
    Diagnosis,
    Patient,
    sample_diagnosis,
    sample_patient,
    sample_quality,
)
from retfm_dist.synth.draw.eye import draw_eye
from retfm_dist.synth.effects import VisibilityRule, check_visibility, visibility_of
from retfm_dist.synth.encode import ImageFormat, choose_codec, encode, suffix_of
from retfm_dist.synth.sites import DEVICES, LABELS, SITES
from retfm_dist.synth.streams import PatientKey
from retfm_dist.workers import map_in_order

TABLE_NAME = "cohort.csv"
TRUTH_NAME = "planted.json"
IMAGE_DIR_NAME = "images"
COLUMNS = (
    *(column.name for column in ARCHIVE_COLUMNS),
    *(f"{LABEL_PREFIX}{name}" for name in LABELS),
)
SIZE_RANGE_PX = (64, 4096)
MAX_PATIENTS_PER_SITE = 1_000_000

_PATIENTS_PER_TASK = 4

Row = dict[str, Any]


@dataclass(frozen=True)
class CohortSpec:
    """Parameters of a cohort.

    Attributes:
        num_patients_per_site: Patients of each of the two sites; each gives two pictures.
        size_px: Height of the pictures.
        seed: In [0, 2**63).
        lesion_visibility: How much a disease shows in the pixels, 0 (not at all) to 1 (plainly).
        rules: Another visibility for subgroups; the last rule that applies counts.
        image_format: "jpg" is JPEG 4:2:0 throughout, "mixed" adds 4:2:2, 4:4:4, PNG and TIFF.
    """

    num_patients_per_site: int
    size_px: int
    seed: int
    lesion_visibility: float = 1.0
    rules: tuple[VisibilityRule, ...] = ()
    image_format: ImageFormat = "jpg"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            CohortError: A number out of its range.
        """
        ranges = {
            "num_patients_per_site": (1, MAX_PATIENTS_PER_SITE),
            "size_px": SIZE_RANGE_PX,
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise CohortError(
                    "number out of range", where=name, got=value, expected=f"{low} to {high}"
                )
        check_visibility(self.lesion_visibility)

    @property
    def num_images(self) -> int:
        """Number of pictures."""
        return self.num_patients_per_site * len(SITES) * len(EYES)


def write_cohort(
    out_dir: Path,
    *,
    num_patients_per_site: int,
    size_px: int,
    seed: int,
    lesion_visibility: float = 1.0,
    image_format: ImageFormat = "jpg",
    workers: int = 1,
) -> Path:
    """Draw a cohort without subgroup effects; see `write_spec`.

    Args:
        out_dir: New directory.
        num_patients_per_site: See `CohortSpec`.
        size_px: See `CohortSpec`.
        seed: See `CohortSpec`.
        lesion_visibility: See `CohortSpec`.
        image_format: See `CohortSpec`.
        workers: Processes that draw.

    Returns:
        Path of the archive table.
    """
    spec = CohortSpec(
        num_patients_per_site=num_patients_per_site,
        size_px=size_px,
        seed=seed,
        lesion_visibility=lesion_visibility,
        image_format=image_format,
    )
    return write_spec(out_dir, spec, workers=workers)


def write_spec(out_dir: Path, spec: CohortSpec, *, workers: int = 1) -> Path:
    """Draw a cohort into `out_dir`.

    Args:
        out_dir: Directory to make; it may exist if it is empty.
        spec: What to draw.
        workers: Processes that draw; with more than one, call from under
            `if __name__ == "__main__"`.

    Returns:
        Path of the archive table.

    Raises:
        CohortError: `out_dir` holds something, or cannot be written; `workers` is below 1.
        WorkerError: A process that draws was killed.
        RetfmError: Another process is writing it.
    """
    if workers < 1:
        raise CohortError("workers must be >= 1", got=workers)
    try:
        _make_way(out_dir)
        with staged_directory(out_dir) as staging:
            (staging / IMAGE_DIR_NAME).mkdir()
            rows = _draw_all(staging / IMAGE_DIR_NAME, spec, workers=workers)
            _write_table(staging / TABLE_NAME, rows)
            write_json(staging / TRUTH_NAME, asdict(spec))
    except OSError as error:
        raise CohortError(
            "cannot write the cohort", where=error.filename or out_dir, got=error.strerror or error
        ) from error
    return out_dir / TABLE_NAME


def draw_image(spec: CohortSpec, key: PatientKey, eye: Eye) -> tuple[Row, bytes]:
    """Return the table's row and the file of one picture; a pure function.

    Args:
        spec: What the picture looks like; its number of patients is not used.
        key: Whose eye.
        eye: Which.
    """
    patient = sample_patient(key)
    codec = choose_codec(key, eye, image_format=spec.image_format)
    name = f"{patient.patient_id}_{eye}{suffix_of(codec)}"
    visibility = visibility_of(patient, base=spec.lesion_visibility, rules=spec.rules)
    diagnosis = sample_diagnosis(key, eye)
    picture = draw_eye(
        patient, eye, diagnosis=diagnosis, size_px=spec.size_px, visibility=visibility
    )
    file = encode(picture, codec, jpeg_quality=DEVICES[patient.device].jpeg_quality)
    return _describe(patient, eye, diagnosis, image_path=f"{IMAGE_DIR_NAME}/{name}"), file


def _describe(patient: Patient, eye: Eye, diagnosis: Diagnosis, *, image_path: str) -> Row:
    facts = {name: value for name, value in vars(patient).items() if name in COLUMNS}
    labels = {f"{LABEL_PREFIX}{name}": diagnosis.labels[name] for name in LABELS}
    return {
        "image_path": image_path,
        "eye": eye,
        "quality": sample_quality(patient.key, eye),
        "modality": "cfp",
        **facts,
        **labels,
    }


def _draw_all(image_dir: Path, spec: CohortSpec, *, workers: int) -> list[Row]:
    """Write all pictures and return their rows, ordered by site, patient and eye."""
    keys = [
        PatientKey(seed=spec.seed, site=site, number=number)
        for site in range(len(SITES))
        for number in range(spec.num_patients_per_site)
    ]
    tasks = [
        (image_dir, spec, keys[first : first + _PATIENTS_PER_TASK])
        for first in range(0, len(keys), _PATIENTS_PER_TASK)
    ]
    with closing(map_in_order(_draw_task, tasks, workers=min(workers, len(tasks)))) as results:
        drawn = track(results, description="drawing", total=len(tasks))
        return [row for rows in drawn for row in rows]


def _draw_task(task: tuple[Path, CohortSpec, list[PatientKey]]) -> list[Row]:
    """Draw both eyes of a few patients."""
    image_dir, spec, keys = task
    rows = []
    for key in keys:
        for eye in EYES:
            row, file = draw_image(spec, key, eye)
            (image_dir.parent / row["image_path"]).write_bytes(file)
            rows.append(row)
    return rows


def _write_table(path: Path, rows: list[Row]) -> None:
    with open_atomic(path, "w") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _make_way(out_dir: Path) -> None:
    """Remove an empty directory of that name; refuse anything else that is there."""
    if out_dir.is_dir() and not any(out_dir.iterdir()):
        out_dir.rmdir()
    elif out_dir.exists():
        raise CohortError(
            "already exists and is not empty",
            where=out_dir,
            hint="choose another --out, or remove it first",
        )
