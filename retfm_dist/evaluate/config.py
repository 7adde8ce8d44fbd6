"""Schema of an evaluation config: models, tables, tasks, protocols.

A file states it in full; only how it is computed (device, threads) has defaults. Relative paths
are those of the folder the command runs in.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from retfm_dist.cohort.spelling import clean_label, clean_labels
from retfm_dist.config.paths import ConfigPath
from retfm_dist.config.section import Fraction, Positive, Section
from retfm_dist.statistics.estimate import MIN_REPEATS

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
"""Lower case name that is also used as a file name."""
Cell = bool | str | int | float
"""A value of a table; 1, 1.0 and true are the same, however the table writes them."""


class ExportModelConfig(Section):
    """A pre-trained encoder."""

    kind: Literal["export"]
    id: Id
    """Name in tables and files."""
    path: ConfigPath
    """Export directory, or the .pth or .safetensors file of a MAE or RETFound state dict."""
    num_heads: Positive | None = None
    """Attention heads, for a weights file that does not state them; exports and the checkpoints of
    MAE's own training do."""


class RandomInitModelConfig(Section):
    """Control: the same architecture with the weights that pre-training starts from."""

    kind: Literal["random_init"]
    id: Id
    """Name in tables and files."""
    like: Id
    """Id of the export whose architecture it has."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seed of the weights."""


class HandcraftedModelConfig(Section):
    """Baseline: simple statistics of color and texture, no learning."""

    kind: Literal["handcrafted"]
    id: Id
    """Name in tables and files."""


ModelConfig = Annotated[
    ExportModelConfig | RandomInitModelConfig | HandcraftedModelConfig, Field(discriminator="kind")
]


class TableConfig(Section):
    """One data set."""

    path: ConfigPath
    """Archive table (.csv or .parquet) with image_path, patient_id and the label columns; or a
    folder SPLIT/CLASS/image or CLASS/image, whose columns are `split` and `class`."""
    images: ConfigPath | None = None
    """Folder that image_path is relative to; null is the folder of the table."""
    patient_pattern: str | None = None
    """For a folder: regular expression with a group (?P<patient>...) that is found in file names.
    Without one, each image counts as a patient of its own, which the report says."""
    ids_as_written: bool = False
    """Accept patient numbers that look damaged by a spreadsheet, or that are nearly alike."""
    max_bad_ratio: Fraction = 0.01
    """Largest share of a task's images that may be missing or unreadable before it is an error."""

    @property
    def images_dir(self) -> Path:
        """Folder that image_path is relative to."""
        return self.images or (self.path if self.path.is_dir() else self.path.parent)

    @model_validator(mode="after")
    def _pattern_names_the_patient(self) -> Self:
        if self.patient_pattern is None:
            return self
        try:
            groups = re.compile(self.patient_pattern).groupindex
        except re.error as error:
            raise ValueError(f"patient_pattern is no regular expression: {error}") from error
        if "patient" not in groups:
            raise ValueError("patient_pattern needs a group (?P<patient>...)")
        return self


class FilterConfig(Section):
    """Which rows of a table a task looks at."""

    column: str
    """Column of the table."""
    values: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """Values that are kept."""


class ClassConfig(Section):
    """One class of a task."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the report calls it."""
    values: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """Values of the column that mean it."""


class LabelConfig(Section):
    """How a column becomes classes; rows with any other value are left out and counted.

    Two classes are told by `positive` and `negative`, any number by `classes`.
    """

    column: str
    """Column of the table."""
    positive: tuple[Cell, ...] = ()
    """Values that mean diseased."""
    negative: tuple[Cell, ...] = ()
    """Values that mean not diseased."""
    classes: tuple[ClassConfig, ...] = ()
    """Classes 0, 1, ... in this order; of grades the mildest first."""
    is_ordinal: bool = False
    """Whether the classes are grades of one disease: then models are compared by quadratic kappa,
    else by AUROC (of more than two classes: the mean of each against the rest)."""

    @property
    def values(self) -> dict[str, tuple[Cell, ...]]:
        """Values by the name of the class, class 0 first."""
        if self.classes:
            return {item.name: item.values for item in self.classes}
        return {"negative": self.negative, "positive": self.positive}

    @property
    def primary(self) -> str:
        """Metric that models are compared by."""
        return "kappa_quadratic" if self.is_ordinal else "auroc"

    @model_validator(mode="after")
    def _classes_are_told(self) -> Self:
        has_two = bool(self.positive and self.negative)
        if has_two == bool(self.classes) or (self.classes and (self.positive or self.negative)):
            raise ValueError("give either positive and negative, or classes")
        if self.classes and len(self.values) < max(2, len(self.classes)):
            raise ValueError("classes needs two or more, each with a name of its own")
        if self.is_ordinal and len(self.values) < 3:
            raise ValueError("is_ordinal needs three or more classes")
        return self

    @model_validator(mode="after")
    def _values_are_usable(self) -> Self:
        seen: dict[str | None, str] = {}
        for name, values in self.values.items():
            if lost := [value for value in values if clean_label(str(value)) is None]:
                raise ValueError(
                    f"{lost} mean a missing value in a table; name the label otherwise"
                )
            for value in sorted(map(str, clean_labels(values))):
                if value in seen:
                    raise ValueError(f"[{value!r}] are both {seen[value]} and {name}")
                seen[value] = name
        return self


class SplitConfig(Section):
    """Fixed sets: fit on train, choose on val, judge on test; no patient may be in two."""

    column: str = "split"
    """Column of the table; images with any other value are left out and counted."""
    train: Annotated[tuple[Cell, ...], Field(min_length=1)] = ("train", "training")
    """Values that mean: models are fitted on it."""
    val: Annotated[tuple[Cell, ...], Field(min_length=1)] = ("val", "valid", "validation")
    """Values that mean: regularization and thresholds are chosen on it."""
    test: Annotated[tuple[Cell, ...], Field(min_length=1)] = ("test", "testing")
    """Values that mean: models are judged on it."""


class TaskConfig(Section):
    """A classification task on the images of one table."""

    id: Id
    """Name in tables and files."""
    title: str
    """What is told apart, in words, for the report."""
    table: Id
    """Name of the table."""
    filter: FilterConfig | None = None
    """Rows looked at; none is all."""
    label: LabelConfig
    """The label."""
    split: SplitConfig | None = None
    """Fixed sets; null is repeated cross-validation over all patients."""


class KnnConfig(Section):
    """Nearest neighbors by cosine similarity, votes weighted by a softmax."""

    k: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Numbers of neighbors, each a protocol of its own."""
    temperature: Annotated[float, Field(gt=0)]
    """Temperature of the softmax over similarities; DINO: 0.07."""


class LinearConfig(Section):
    """Logistic regression on standardized frozen features."""

    c_grid: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    """Inverse regularization strengths to choose from."""
    inner_folds: Annotated[int, Field(ge=2)]
    """Patient-grouped folds of the training patients on which C is chosen by AUROC."""

    @model_validator(mode="after")
    def _grid_ascends(self) -> Self:
        if list(self.c_grid) != sorted(set(self.c_grid)):
            raise ValueError(f"c_grid must ascend without repetition, got {list(self.c_grid)}")
        return self


class ProtocolsConfig(Section):
    """How frozen features are turned into predictions; at least one."""

    knn: KnnConfig | None
    """k-nearest neighbors; null leaves it out."""
    linear: LinearConfig | None
    """Linear probe; null leaves it out."""

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.knn is None and self.linear is None:
            raise ValueError("give knn, linear or both")
        return self


class BootstrapConfig(Section):
    """Uncertainty."""

    num_resamples: Annotated[int, Field(ge=100)]
    """Resamples of patients for the bands of ROC curves, B."""
    alpha: Annotated[float, Field(gt=0, le=0.5)]
    """1 - coverage of the intervals; 0.05 gives 95 %."""


class ReportConfig(Section):
    """What the report shows."""

    pictures: bool = False
    """Whether example photographs are embedded. They are patient data: off unless asked for."""
    author: str | None = None
    """Whom the report names as its author."""


class ComputeConfig(Section):
    """How features are computed; no value changes a result."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoders run; "auto" is "cuda" where there is a GPU."""
    batch_size: Positive = 32
    """Images per forward pass."""
    decode_threads: Positive = 2
    """Threads that read and crop photographs."""


class EvaluateConfig(Section):
    """An evaluation: every model on every task under every protocol."""

    name: str
    """Title of the report."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seed of folds and resampling."""
    out: ConfigPath
    """Output directory: feature cache, predictions, metrics and report."""
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    """Models to judge: exported ones, and controls."""
    tables: Annotated[dict[Id, TableConfig], Field(min_length=1)]
    """Data sets by name."""
    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    """Questions."""
    protocols: ProtocolsConfig
    folds: Annotated[int, Field(ge=2)]
    """Patient-grouped, stratified folds; every image is predicted once, by a model that saw none
    of its patient's images."""
    repeats: Annotated[int, Field(ge=MIN_REPEATS)] = 10
    """Cross-validations with other folds, averaged: one alone hangs on its seed, and the variation
    between them is what tells how much the fits themselves vary."""
    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """Largest difference of AUROC between two models that does not matter; "equivalent" is claimed
    only within it."""
    bootstrap: BootstrapConfig
    report: ReportConfig = ReportConfig()
    compute: ComputeConfig = ComputeConfig()
    salt: ConfigPath | None = None
    """Secret salt file of the patient pseudonyms, as in `shard build`; null draws a new salt in
    each run and throws it away: nobody can trace these pseudonyms or compare them between runs."""

    @model_validator(mode="after")
    def _references_hold(self) -> Self:
        for what, ids in (
            ("models", [model.id for model in self.models]),
            ("tasks", [task.id for task in self.tasks]),
        ):
            repeated = sorted({name for name in ids if ids.count(name) > 1})
            if repeated:
                raise ValueError(f"{what}: duplicate ids {repeated}")
        exports = {model.id for model in self.models if isinstance(model, ExportModelConfig)}
        for model in self.models:
            if isinstance(model, RandomInitModelConfig) and model.like not in exports:
                raise ValueError(
                    f"models: {model.id} is like {model.like!r}, expected one of the exports "
                    f"{sorted(exports)}"
                )
        for task in self.tasks:
            if task.table not in self.tables:
                raise ValueError(
                    f"tasks: {task.id} names the table {task.table!r}; there are "
                    f"{sorted(self.tables)}"
                )
        return self
