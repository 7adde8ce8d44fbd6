"""The run directory: what lies where.

RUN_DIR/
    config.yaml            resolved config of the latest start
    environment.json       versions of the latest start
    cohort.json            composition of the images trained on, where the shard set states it
    membership.npz         keyed hashes of these images and their patients, likewise
    metrics.jsonl          one line per log interval; steps ascend and never repeat
    begun.json             time of the first start, for the effective-time ratio
    tracking.json          which MLflow run this is
    reconstructions/       step_XXXXXXXX.png, patient data
    checkpoints/           step_XXXXXXXX/, see `checkpoint`
    saved.json             step of the newest checkpoint that was ever written
    before_NNN/            an earlier history that --fresh has set aside, in the same layout
    anomalies.jsonl        steps that changed no weight, and the images in them
    bad_samples.jsonl      samples that could not be used, and what was trained on instead
    skips.json             windows of steps that rolling back has added to those passed over
    overrides.json         fields of the experiment that --override has changed, and at which step
    failures/              how the attempts of the present job ended, for the verdict on a restart
    profile/               trace and table of the steps of log.profile_steps
    uids/                  rank_NNNN.jsonl, the samples of every step, only with data.log_uids
    origin.json            which checkpoint the run was started from with --resume
    DONE                   the run has finished; no exit code says so
    .lock                  held by the rank that writes here
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDir:
    """The paths of one run.

    Attributes:
        path: The directory itself.
    """

    path: Path

    @property
    def config_path(self) -> Path:
        """Resolved config."""
        return self.path / "config.yaml"

    @property
    def environment_path(self) -> Path:
        """Versions."""
        return self.path / "environment.json"

    @property
    def profile_dir(self) -> Path:
        """Traces and tables of profiled steps."""
        return self.path / "profile"

    @property
    def cohort_path(self) -> Path:
        """Composition of the images trained on, beside the fingerprint of their shard set."""
        return self.path / "cohort.json"

    @property
    def membership_path(self) -> Path:
        """Keyed hashes of the images trained on, and of their patients."""
        return self.path / "membership.npz"

    @property
    def metrics_path(self) -> Path:
        """Metrics, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def tracking_path(self) -> Path:
        """Id of the MLflow run."""
        return self.path / "tracking.json"

    @property
    def origin_path(self) -> Path:
        """Identity of the checkpoint that the run was explicitly started from."""
        return self.path / "origin.json"

    @property
    def saved_path(self) -> Path:
        """Step of the newest checkpoint ever written, to notice that all have gone."""
        return self.path / "saved.json"

    @property
    def begun_path(self) -> Path:
        """Time of the run's first start."""
        return self.path / "begun.json"

    @property
    def skips_path(self) -> Path:
        """Windows of steps that rolling back has added to those passed over."""
        return self.path / "skips.json"

    @property
    def overrides_path(self) -> Path:
        """Fields of the experiment that --override has changed, and at which step."""
        return self.path / "overrides.json"

    @property
    def anomalies_path(self) -> Path:
        """Steps that changed no weight, one JSON object per line."""
        return self.path / "anomalies.jsonl"

    @property
    def bad_samples_path(self) -> Path:
        """Samples that could not be used, one JSON object per line."""
        return self.path / "bad_samples.jsonl"

    @property
    def failures_path(self) -> Path:
        """Notes of how the attempts of a restarted job ended."""
        return self.path / "failures"

    @property
    def done_path(self) -> Path:
        """Marker of a finished run."""
        return self.path / "DONE"

    @property
    def lock_path(self) -> Path:
        """Lock of the process that writes here."""
        return self.path / ".lock"

    def checkpoint_dir(self, step: int) -> Path:
        """Return the directory of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step_{step:08d}"

    def reconstruction_path(self, step: int) -> Path:
        """Return the path of the reconstruction picture after `step` steps."""
        return self.path / "reconstructions" / f"step_{step:08d}.png"

    def uid_log_path(self, rank: int) -> Path:
        """Return the path of a rank's log of uids."""
        return self.path / "uids" / f"rank_{rank:04d}.jsonl"

    def uid_log_paths(self) -> list[Path]:
        """Return the logs of uids that exist, of whichever ranks."""
        return sorted((self.path / "uids").glob("rank_*.jsonl"))
