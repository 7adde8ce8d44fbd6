"""Data sets laid out as folders: SPLIT/CLASS/image, or CLASS/image.

It is the layout of torchvision's ImageFolder, in which fine-tuning data for fundus models are often
shared. Columns: `class`, and `split` where there are folders for it.
"""

import re
from pathlib import Path

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import EvaluateError
from retfm_dist.image.source import IMAGE_SUFFIXES

_DEPTHS = {2: ("class",), 3: ("split", "class")}


def read_image_folder(root: Path, *, patient_pattern: str | None) -> list[ImageRecord]:
    """Return one record per image, in the order of their paths.

    Hidden files, and those that are no images by their suffix, are not looked at.

    Args:
        root: The folder.
        patient_pattern: Regular expression with a group `patient` that is found in each file name;
            without one every image is a patient of its own.

    Raises:
        EvaluateError: There is no image, the folders are not of one depth, or a file name does not
            tell its patient.
    """
    paths = [
        path.relative_to(root)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    ]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if not paths:
        raise EvaluateError(
            "no image in the folder",
            where=root,
            expected="SPLIT/CLASS/image or CLASS/image, of " + ", ".join(sorted(IMAGE_SUFFIXES)),
        )
    depths = sorted({len(path.parts) for path in paths})
    if len(depths) > 1 or depths[0] not in _DEPTHS:
        odd = next(path for path in paths if len(path.parts) == depths[-1])
        raise EvaluateError(
            "images at another depth",
            where=root,
            got=f"a file {len(odd.parts) - 1} folders deep, in {odd.parts[0]}",
            expected="all images as SPLIT/CLASS/image, or all as CLASS/image",
        )
    names = _DEPTHS[depths[0]]
    return [
        ImageRecord(
            row=row,
            image_path=path.as_posix(),
            patient_id=_patient_of(path, patient_pattern, where=f"{root}, image {row}"),
            labels=dict(zip(names, path.parts[:-1], strict=True)),
        )
        for row, path in enumerate(paths, start=1)
    ]


def _patient_of(path: Path, pattern: str | None, *, where: str) -> str:
    if pattern is None:
        return path.as_posix()
    found = re.search(pattern, path.name)
    if found is None or not found["patient"]:
        # The file's name may be the patient's, so it is not repeated here.
        raise EvaluateError(
            "the file name does not tell its patient",
            where=where,
            expected=f"a name in which {pattern} is found",
            hint="mend tables.*.patient_pattern",
        )
    return found["patient"]
