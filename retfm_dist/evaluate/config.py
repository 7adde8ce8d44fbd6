"""Schema of an evaluation config: models, tables, tasks, protocols.

A file states it in full; only how it is computed (device, threads) has defaults. Relative paths
are those of the folder the command runs in.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from retfm_dist.cohort.spelling import clean_label, clean_labels
from retfm_dist.config.paths import ConfigPath
from retfm_dist.config.schema import Fraction, Positive, Section
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
    """Archive table (.csv or .parquet) with image_path, patient_id and the label columns."""
    images: ConfigPath
    """Folder that image_path is relative to."""
    ids_as_written: bool = False
    """Accept patient numbers that look damaged by a spreadsheet, or that are nearly alike."""
    max_bad_ratio: Fraction = 0.01
    """Largest share of a task's images that may be missing or unreadable before it is an error."""


class FilterConfig(Section):
    """Which rows of a table a task looks at."""

    column: str
    """Column of the table."""
    values: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """Values that are kept."""


class LabelConfig(Section):
    """How a column becomes a binary label; rows with any other value are left out and counted."""

    column: str
    """Column of the table."""
    positive: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """Values that mean diseased."""
    negative: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """Values that mean not diseased."""

    @model_validator(mode="after")
    def _values_are_usable(self) -> Self:
        positive, negative = clean_labels(self.positive), clean_labels(self.negative)
        if None in positive | negative:
            lost = [v for v in (*self.positive, *self.negative) if clean_label(str(v)) is None]
            raise ValueError(f"{lost} mean a missing value in a table; name the label otherwise")
        if shared := sorted(map(str, positive & negative)):
            raise ValueError(f"{shared} are both positive and negative")
        return self


class TaskConfig(Section):
    """A binary classification task on the images of one table."""

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
