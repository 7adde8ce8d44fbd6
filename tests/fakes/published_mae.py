"""The published mathematics of the masked autoencoder, written out in plain tensor operations.

An oracle for the tests: it embeds all patches, shuffles them by the noise, drops the last ones,
puts mask tokens in their place, unshuffles, decodes in image order, and weighs all patches by
the mask. It shares no code with the package and takes weights by their published names.

Source: He et al. 2022, arXiv:2111.06377; Vaswani et al. 2017, arXiv:1706.03762.
"""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Published:
    loss: torch.Tensor
    mask: torch.Tensor
    pred: torch.Tensor


def published_mae(weights, images, noise, *, arguments):
    """Return loss [], mask [B, L] and pred [B, L, P] of uint8 `images` under `noise`."""
    patch_size, dtype = arguments["patch_size"], weights["cls_token"].dtype
    channel = torch.tensor([0.485, 0.456, 0.406], dtype=dtype).view(1, 3, 1, 1)
    spread = torch.tensor([0.229, 0.224, 0.225], dtype=dtype).view(1, 3, 1, 1)
    pixels = (images.to(dtype) / 255 - channel) / spread

    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    tokens = torch.nn.functional.conv2d(pixels, kernel, bias, stride=patch_size)
    tokens = tokens.flatten(2).transpose(1, 2) + weights["pos_embed"][:, 1:]
    batch_size, num_patches, _ = tokens.shape

    shuffle = torch.sort(noise, dim=1, stable=True).indices
    restore = torch.argsort(shuffle, dim=1)
    num_kept = int(num_patches * (1 - arguments["mask_ratio"]))
    rows = torch.arange(batch_size)[:, None]
    mask = torch.ones(batch_size, num_patches, dtype=dtype)
    mask[:, :num_kept] = 0
    mask = mask[rows, restore]

    first = (weights["cls_token"] + weights["pos_embed"][:, :1]).repeat(batch_size, 1, 1)
    tokens = torch.cat([first, tokens[rows, shuffle[:, :num_kept]]], dim=1)
    for index in range(arguments["depth"]):
        tokens = block(tokens, weights, f"blocks.{index}.", num_heads=arguments["num_heads"])
    tokens = linear(layer_norm(tokens, weights, "norm"), weights, "decoder_embed")

    blanks = weights["mask_token"].repeat(batch_size, num_patches - num_kept, 1)
    patches = torch.cat([tokens[:, 1:], blanks], dim=1)[rows, restore]
    tokens = torch.cat([tokens[:, :1], patches], dim=1) + weights["decoder_pos_embed"]
    for index in range(arguments["decoder_depth"]):
        prefix = f"decoder_blocks.{index}."
        tokens = block(tokens, weights, prefix, num_heads=arguments["decoder_num_heads"])
    pred = linear(layer_norm(tokens, weights, "decoder_norm"), weights, "decoder_pred")[:, 1:]

    target = cut(pixels, patch_size)
    if arguments["norm_pix_loss"]:
        mean = target.mean(-1, keepdim=True)
        variance = ((target - mean) ** 2).sum(-1, keepdim=True) / (target.shape[-1] - 1)
        target = (target - mean) / torch.sqrt(variance + 1e-6)
    error = ((pred - target) ** 2).mean(-1)
    return Published(loss=(error * mask).sum() / mask.sum(), mask=mask, pred=pred)


def cut(images, patch_size):
    """Return [B, L, p * p * 3]: patches in reading order, pixel by pixel, colors together."""
    batch_size, _, side, _ = images.shape
    patches = [
        images[:, :, y : y + patch_size, x : x + patch_size].permute(0, 2, 3, 1).flatten(1)
        for y in range(0, side, patch_size)
        for x in range(0, side, patch_size)
    ]
    return torch.stack(patches, dim=1).reshape(batch_size, len(patches), -1)


def block(tokens, weights, prefix, *, num_heads):
    """Apply one pre-normalized transformer block."""
    normed = layer_norm(tokens, weights, prefix + "norm1")
    tokens = tokens + attention(normed, weights, prefix + "attn.", num_heads=num_heads)
    hidden = linear(layer_norm(tokens, weights, prefix + "norm2"), weights, prefix + "mlp.fc1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return tokens + linear(hidden, weights, prefix + "mlp.fc2")


def attention(tokens, weights, prefix, *, num_heads):
    """Apply softmax(Q K^T / sqrt(d)) V per head, heads side by side in the last axis."""
    query, key, value = linear(tokens, weights, prefix + "qkv").chunk(3, dim=-1)
    head_dim = tokens.shape[-1] // num_heads
    heads = []
    for head in range(num_heads):
        part = slice(head * head_dim, (head + 1) * head_dim)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(head_dim)
        scores = torch.exp(scores - scores.amax(-1, keepdim=True))
        heads.append(scores / scores.sum(-1, keepdim=True) @ value[..., part])
    return linear(torch.cat(heads, dim=-1), weights, prefix + "proj")


def layer_norm(tokens, weights, name):
    """Normalize the last axis with epsilon 1e-6, scale and shift."""
    centered = tokens - tokens.mean(-1, keepdim=True)
    normed = centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-6)
    return normed * weights[name + ".weight"] + weights[name + ".bias"]


def linear(tokens, weights, name):
    """Return tokens W^T + b."""
    return tokens @ weights[name + ".weight"].T + weights[name + ".bias"]
