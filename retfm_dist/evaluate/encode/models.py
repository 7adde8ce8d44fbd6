"""The models that are judged: whatever turns images into features, and its identity."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from retfm_dist.cohort.membership import MEMBERSHIP_NAME, Membership, read_membership
from retfm_dist.config.schema import ModelConfig
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import (
    EvaluateConfig,
    ExportModelConfig,
    HandcraftedModelConfig,
    RandomInitModelConfig,
)
from retfm_dist.evaluate.encode import handcrafted
from retfm_dist.export.architecture import Architecture, Preprocessing, build_encoder, encoder_state
from retfm_dist.export.load import PROVENANCE_NAME, WEIGHTS_NAME, LoadedEncoder, load_encoder
from retfm_dist.model.mae import MaskedAutoencoder, init_weights


class FeatureExtractor(Protocol):
    """What the feature stage needs of a model."""

    @property
    def img_size(self) -> int:
        """Side of the square input, px."""
        ...

    @property
    def device(self) -> torch.device:
        """Where features are computed."""
        ...

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, D] features, on the CPU, of uint8 [B, 3, S, S] images."""
        ...


@dataclass(frozen=True)
class Model:
    """A named feature extractor.

    Attributes:
        id: Name in tables and files.
        kind: "export", "random_init" or "handcrafted".
        identity: Hex sha256 of everything, besides the images, that the features depend on.
        facts: What the report says about it.
        extractor: The extractor.
        membership: Which images and patients it was pre-trained on, where its export says so.
    """

    id: str
    kind: str
    identity: str
    facts: dict[str, Any]
    extractor: FeatureExtractor
    membership: Membership | None = None

    def describe(self) -> dict[str, Any]:
        """Return the model's entry in models.json."""
        return {"id": self.id, "kind": self.kind, "identity": self.identity, **self.facts}


@dataclass(frozen=True)
class EncoderExtractor:
    """A timm encoder with its normalization, in fp32.

    Attributes:
        encoder: [B, 3, S, S] normalized images -> [B, D].
        preprocessing: How its input is made.
        device: Where it runs.
    """

    encoder: nn.Module
    preprocessing: Preprocessing
    device: torch.device

    @property
    def img_size(self) -> int:
        """Side of the square input, px."""
        return self.preprocessing.img_size

    @torch.inference_mode()
    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, D] pooled features, on the CPU, of uint8 [B, 3, S, S] images."""
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        pixels = (images.to(self.device).float() / 255 - mean) / std
        # cuDNN would otherwise round convolutions to 10 bits (TF32) on recent GPUs.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self.encoder(pixels).float().cpu()


@dataclass(frozen=True)
class HandcraftedExtractor:
    """The baseline of `handcrafted.py`."""

    img_size: int = handcrafted.IMG_SIZE

    @property
    def device(self) -> torch.device:
        """Where features are computed."""
        return torch.device("cpu")

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, D] features of uint8 [B, 3, S, S] images."""
        return handcrafted.handcrafted_features(images)


def build_models(config: EvaluateConfig) -> list[Model]:
    """Load every model of the config, each weights file once, in the order of the config.

    Raises:
        EvaluateError: There is no GPU although one is asked for.
        ExportError: An export is missing, damaged or of another format.
        ModelError: A weights file is damaged or holds no state dict.
    """
    device = choose_device(config.compute.device)
    exports = {
        item.id: (item, load_encoder(item.path, num_heads=item.num_heads))
        for item in config.models
        if isinstance(item, ExportModelConfig)
    }
    models = []
    for item in config.models:
        match item:
            case ExportModelConfig():
                models.append(_export_model(*exports[item.id], device))
            case RandomInitModelConfig():
                models.append(_random_model(item, exports[item.like][1].architecture, device))
            case HandcraftedModelConfig():
                models.append(_handcrafted_model(item))
    return models


def choose_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" means here.

    Raises:
        EvaluateError: There is no GPU although one is asked for.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise EvaluateError(
            "no GPU here", where="compute.device", got="cuda", expected="cpu or auto"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def random_encoder(architecture: Architecture, *, seed: int) -> nn.Module:
    """Return an encoder in the state that pre-training with this seed starts from."""
    # Initial values depend on each parameter's own name and shape: any decoder and mask will do.
    start = MaskedAutoencoder(
        ModelConfig(
            **asdict(architecture),
            decoder_embed_dim=4,
            decoder_depth=1,
            decoder_num_heads=1,
            mask_ratio=0.5,
            norm_pix_loss=True,
        )
    )
    init_weights(start, seed)
    encoder = build_encoder(architecture)
    encoder.load_state_dict(encoder_state(start.state_dict()), strict=True)
    return encoder.eval()


def digest_weights(model: nn.Module) -> str:
    """Return the hex sha256 of a model's tensors: names, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _export_model(config: ExportModelConfig, loaded: LoadedEncoder, device: torch.device) -> Model:
    architecture = asdict(loaded.architecture)
    return Model(
        id=config.id,
        kind=config.kind,
        identity=_identity(loaded.weights_sha256, architecture, asdict(loaded.preprocessing)),
        facts={
            "architecture": architecture,
            "weights": WEIGHTS_NAME if config.path.is_dir() else config.path.name,
            "weights_sha256": loaded.weights_sha256,
            **_read_provenance(config.path),
        },
        extractor=EncoderExtractor(loaded.model.to(device), loaded.preprocessing, device),
        membership=_read_membership(config.path),
    )


def _random_model(
    config: RandomInitModelConfig, architecture: Architecture, device: torch.device
) -> Model:
    encoder = random_encoder(architecture, seed=config.seed)
    preprocessing = Preprocessing(img_size=architecture.img_size)
    weights_sha256 = digest_weights(encoder)
    return Model(
        id=config.id,
        kind=config.kind,
        identity=_identity(weights_sha256, asdict(architecture), asdict(preprocessing)),
        facts={
            "architecture": asdict(architecture),
            "seed": config.seed,
            "weights_sha256": weights_sha256,
        },
        extractor=EncoderExtractor(encoder.to(device), preprocessing, device),
    )


def _handcrafted_model(config: HandcraftedModelConfig) -> Model:
    facts = {"version": handcrafted.VERSION, "num_features": len(handcrafted.FEATURE_NAMES)}
    return Model(config.id, config.kind, _identity(facts), facts, HandcraftedExtractor())


def _identity(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_membership(path: Path) -> Membership | None:
    membership_path = path / MEMBERSHIP_NAME
    return read_membership(membership_path) if membership_path.is_file() else None


def _read_provenance(path: Path) -> dict[str, Any]:
    """Return what an export says about its pre-training; nothing for a plain weights file."""
    provenance_path = path / PROVENANCE_NAME
    if not provenance_path.is_file():
        return {}
    provenance = json.loads(provenance_path.read_text(encoding="utf-8"))
    wanted = ("run", "step", "images_seen", "epoch", "config_hash", "data_fingerprint", "versions")
    return {name: provenance[name] for name in wanted if name in provenance}
