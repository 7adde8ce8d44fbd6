"""The arms of a comparison: whatever turns images into features, and its identity."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from retfm_dist.durable import sha256_file
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, ExportArm, HandcraftedArm, RandomInitArm
from retfm_dist.evaluate.encode import handcrafted
from retfm_dist.export.architecture import Architecture, Preprocessing, build_encoder, encoder_state
from retfm_dist.export.load import (
    PROVENANCE_NAME,
    load_encoder,
    read_architecture,
    weights_path,
)
from retfm_dist.model.mae import MaskedAutoencoder, init_weights


class FeatureExtractor(Protocol):
    """What the feature stage needs of an arm."""

    @property
    def img_size(self) -> int:
        """Side of the square input, px."""
        ...

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, D] features, on the CPU, of uint8 [B, 3, S, S] images."""
        ...


@dataclass(frozen=True)
class Arm:
    """A named feature extractor.

    Attributes:
        id: Name in tables and files.
        kind: "export", "random_init" or "handcrafted".
        identity: Hex sha256 of everything, besides the images, that the features depend on.
        facts: What the report says about it.
        extractor: The extractor.
    """

    id: str
    kind: str
    identity: str
    facts: dict[str, Any]
    extractor: FeatureExtractor


@dataclass(frozen=True)
class Encoder:
    """A timm encoder with its normalization, in fp32.

    Attributes:
        model: [B, 3, S, S] normalized images -> [B, D].
        preprocessing: How its input is made.
        device: Where it runs.
    """

    model: nn.Module
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
            return self.model(pixels).float().cpu()


@dataclass(frozen=True)
class Handcrafted:
    """The floor of `handcrafted.py`."""

    img_size: int = handcrafted.IMG_SIZE

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, D] features of uint8 [B, 3, S, S] images."""
        return handcrafted.handcrafted_features(images)


def build_arms(config: EvaluateConfig) -> list[Arm]:
    """Load every model of the config.

    Raises:
        ExportError: An export is missing, damaged or of another format.
    """
    device = choose_device(config.compute.device)
    exports = {model.id: model for model in config.models if isinstance(model, ExportArm)}
    arms = []
    for model in config.models:
        match model:
            case ExportArm():
                arms.append(_export_arm(model, device))
            case RandomInitArm():
                arms.append(_random_arm(model, exports[model.like], device))
            case HandcraftedArm():
                arms.append(_handcrafted_arm(model))
    return arms


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
    # Initial values depend on each parameter's own name and shape: any decoder will do.
    start = MaskedAutoencoder(
        **asdict(architecture),
        decoder_embed_dim=4,
        decoder_depth=0,
        decoder_num_heads=1,
        mask_ratio=0.75,
        norm_pix_loss=True,
    )
    init_weights(start, seed)
    model = build_encoder(architecture)
    model.load_state_dict(encoder_state(start.state_dict()), strict=True)
    return model.eval()


def digest_weights(model: nn.Module) -> str:
    """Return the hex sha256 of a model's tensors: names, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _export_arm(config: ExportArm, device: torch.device) -> Arm:
    model, preprocessing = load_encoder(config.path, num_heads=config.num_heads)
    architecture = read_architecture(config.path, num_heads=config.num_heads)
    file = weights_path(config.path)
    weights_sha256 = sha256_file(file)
    facts = {
        "architecture": asdict(architecture),
        "weights": file.name,
        "weights_sha256": weights_sha256,
        **_read_provenance(config.path),
    }
    return Arm(
        id=config.id,
        kind=config.kind,
        identity=_identity(weights_sha256, asdict(architecture), asdict(preprocessing)),
        facts=facts,
        extractor=Encoder(model.to(device), preprocessing, device),
    )


def _random_arm(config: RandomInitArm, like: ExportArm, device: torch.device) -> Arm:
    architecture = read_architecture(like.path, num_heads=like.num_heads)
    model = random_encoder(architecture, seed=config.seed)
    preprocessing = Preprocessing(img_size=architecture.img_size)
    weights_sha256 = digest_weights(model)
    return Arm(
        id=config.id,
        kind=config.kind,
        identity=_identity(weights_sha256, asdict(architecture), asdict(preprocessing)),
        facts={
            "architecture": asdict(architecture),
            "seed": config.seed,
            "weights_sha256": weights_sha256,
        },
        extractor=Encoder(model.to(device), preprocessing, device),
    )


def _handcrafted_arm(config: HandcraftedArm) -> Arm:
    facts = {"version": handcrafted.VERSION, "num_features": len(handcrafted.FEATURE_NAMES)}
    return Arm(config.id, config.kind, _identity(facts), facts, Handcrafted())


def _identity(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_provenance(path: Path) -> dict[str, Any]:
    """Return what an export says about its pre-training; nothing for a plain weights file."""
    provenance_path = path / PROVENANCE_NAME
    if not provenance_path.is_file():
        return {}
    provenance = json.loads(provenance_path.read_text(encoding="utf-8"))
    wanted = ("run", "step", "images_seen", "epoch", "config_hash", "data_fingerprint", "versions")
    return {name: provenance[name] for name in wanted if name in provenance}
