"""The fixed prompt: its embedding in a small file, so that the text encoder of 5.7 billion parameters runs only once.

The file is safetensors. Each tensor is one prompt's embedding ``(1, 512, 4096)``, zero beyond the prompt's own tokens,
and its name is the sha256 of the prompt (UTF-8). It is made from a local copy of Wan2.1 in the layout of diffusers::

    python -m stvsr_bench.methods.diffst.prompt --model Wan2.1-T2V-1.3B-Diffusers --prompt "" --out prompt.safetensors

reads ``text_encoder/`` (UMT5-XXL) and ``tokenizer/`` of that folder and nothing else, never the network. It takes
about 12 GB of memory in bfloat16, twice that in float32.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stvsr_bench.core.atomic import atomic_write
from stvsr_bench.core.errors import BenchError, ConfigError, ResultError, WeightError
from stvsr_bench.core.paths import user_path
from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.weights.readers import RawFile, read_raw
from stvsr_bench.weights.strict import shorten

TOKENS = 512
"""Of every embedding; Wan does not mask the empty ones, so all count."""
TEXT_DIM = 4096
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_COMMAND = "python -m stvsr_bench.methods.diffst.prompt"
_MOST_TOKENS_PER_BYTE = (
    18  # a character may be spelled out as so many by Unicode normalisation; a token has at least one
)


def prompt_key(prompt: str) -> str:
    """Return the name under which the embedding of ``prompt`` is kept.

    >>> prompt_key("")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(prompt.encode()).hexdigest()


def load_prompt(path: str | Path, prompt: str = "", *, tokens: int = TOKENS, text_dim: int = TEXT_DIM) -> Tensor:
    """Read the embedding of ``prompt`` from a file.

    Returns:
        ``(1, tokens, text_dim)``, in the dtype of the file.

    Raises:
        WeightError: the file is absent or damaged, or see :func:`prompt_embedding`.
    """
    file = user_path(path)
    if not file.is_file():
        raise WeightError(
            "the prompt's embedding is missing",
            got=f"no file '{file}'",
            accepted="a safetensors file of prompt embeddings",
            action=_how(prompt),
        )
    return prompt_embedding(
        read_raw("safetensors", [RawFile(str(file), file)]), prompt, tokens=tokens, text_dim=text_dim
    )


def prompt_embedding(
    tensors: Mapping[str, Tensor], prompt: str = "", *, tokens: int = TOKENS, text_dim: int = TEXT_DIM
) -> Tensor:
    """Return the checked embedding of ``prompt`` among the tensors of a file, ``(1, tokens, text_dim)``.

    Raises:
        WeightError: there is none for this prompt; it has another shape or is no floating-point tensor; it holds what
            is not finite; or it is not zero exactly beyond the prompt.
    """
    key = prompt_key(prompt)
    if key not in tensors:
        raise WeightError(
            "the file holds no embedding of this prompt",
            got=f"{len(tensors)} of others: {shorten(sorted(tensors), 2)}" if tensors else "no tensor",
            accepted=f"'{key}', the sha256 of {prompt!r}",
            action=_how(prompt),
        )
    embedding = tensors[key]
    if embedding.shape != (1, tokens, text_dim) or not embedding.is_floating_point():
        raise WeightError(
            "the prompt's embedding has another form",
            got=f"{str(embedding.dtype).removeprefix('torch.')} {list(embedding.shape)}",
            accepted=f"floating-point [1, {tokens}, {text_dim}]",
            action=_how(prompt),
        )
    if not bool(embedding.isfinite().all()):
        raise WeightError("the prompt's embedding holds what is not finite", action=_how(prompt))
    filled = embedding[0].ne(0).any(-1)
    length = int(filled.sum())
    most = min(tokens, _MOST_TOKENS_PER_BYTE * len(prompt.encode()) + 2)
    if not 1 <= length <= most or not bool(filled[:length].all()):
        raise WeightError(
            "the prompt's embedding is not that of this prompt's length",
            got=f"{length} of {tokens} tokens are not zero, the last is token {int(filled.nonzero().max()) + 1}"
            if length
            else "only zeros",
            accepted=f"1 to {most} tokens from the first on, then zeros",
            action=_how(prompt),
        )
    return embedding


def seeded_prompt(prompt: str = "", *, tokens: int = TOKENS, text_dim: int = TEXT_DIM) -> Tensor:
    """Return a made-up embedding for networks without trained parameters: one seeded token, then zeros; float32."""
    generator = torch.Generator().manual_seed(derive_seed(0, "prompt", prompt))
    embedding = torch.zeros(1, tokens, text_dim)
    embedding[:, 0] = torch.randn(text_dim, generator=generator)
    return embedding


@torch.inference_mode()
def embed_prompt(model: str | Path, prompt: str, *, tokens: int = TOKENS, dtype: str = "bfloat16") -> Tensor:
    """Embed ``prompt`` with the text encoder of a local folder, as Wan's pipeline of diffusers does.

    HTML entities are resolved and white space is collapsed, as there; broken Unicode, which it would also repair, is
    taken as it is. The encoder runs in ``dtype`` on the CPU, padded tokens masked, and what it says of them is zeroed.

    Args:
        model: folder with ``text_encoder/`` (safetensors) and ``tokenizer/``.
        prompt: what to embed.
        tokens: length of the result.
        dtype: one of :data:`DTYPES`.

    Returns:
        ``(1, tokens, D)`` for the encoder's width D (4096 for UMT5-XXL), in ``dtype``.

    Raises:
        ConfigError: the prompt has more than ``tokens`` tokens, or ``dtype`` is unknown.
        WeightError: the folder is incomplete, damaged, or of another network.
    """
    if dtype not in DTYPES:
        raise ConfigError("the text encoder has no such dtype", got=repr(dtype), accepted=", ".join(DTYPES))
    tokenizer, encoder = _read_encoder(user_path(model))
    text = " ".join(html.unescape(html.unescape(prompt)).split())
    found = tokenizer([text], add_special_tokens=True, return_tensors="pt")
    length = found.input_ids.shape[1]
    if not 1 <= length <= tokens:
        raise ConfigError(
            "the prompt has too many tokens" if length else "the tokenizer ends no prompt with a token of its own",
            got=f"{length}",
            accepted=f"1 to {tokens}",
            action="shorten the prompt" if length else "take the tokenizer of the same model",
        )
    padded = tokenizer([text], padding="max_length", max_length=tokens, add_special_tokens=True, return_tensors="pt")
    encoder = encoder.eval().to(DTYPES[dtype])
    out: Tensor = encoder(padded.input_ids, padded.attention_mask).last_hidden_state
    return out.masked_fill(padded.attention_mask[..., None] == 0, 0)


def _read_encoder(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and text encoder of a local folder; every parameter comes from its files."""
    for part, needed in (("text_encoder", "config.json"), ("tokenizer", "tokenizer_config.json")):
        if not (folder / part / needed).is_file():
            raise WeightError(
                "the text encoder is missing",
                got=f"no {part}/{needed} in '{folder}'",
                accepted="a folder with text_encoder/ and tokenizer/, as in Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
                action="give the folder of the whole model, not one inside it",
            )
    from transformers import AutoTokenizer, UMT5EncoderModel

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        loaded: Any = UMT5EncoderModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError, safetensors.SafetensorError) as error:
        raise WeightError(
            f"the text encoder in '{folder}' cannot be read",
            got=f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0][:300]}",
            accepted="UMT5 with safetensors in text_encoder/, its tokenizer in tokenizer/",
            action="the files are incomplete, damaged or of another network: get them again",
        ) from error
    encoder, report = loaded
    faults = {kind: sorted(map(str, report[f"{kind}_keys"])) for kind in ("missing", "unexpected", "mismatched")}
    if any(faults.values()):
        raise WeightError(
            f"the parameters in '{folder / 'text_encoder'}' do not fit its config.json",
            got="; ".join(f"{len(names)} {kind}: {shorten(names, 3)}" for kind, names in faults.items() if names),
            accepted="all parameters of UMT5EncoderModel and no others",
        )
    return tokenizer, encoder


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the file of one prompt; return the exit status: 0 written, 2 user error."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Make the embedding of DiffST's fixed prompt.")
    parser.add_argument("--model", required=True, help="local folder with text_encoder/ and tokenizer/")
    parser.add_argument("--prompt", default="", help="the text (default: the empty one)")
    parser.add_argument("--out", required=True, help="file to write, .safetensors; it must not exist")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16", help="of the encoder and of the file")
    options = parser.parse_args(arguments)
    path = user_path(options.out)
    try:
        if path.exists():
            raise ResultError(f"'{path}' exists", action="remove it or choose another name")
        embedding = embed_prompt(options.model, options.prompt, dtype=options.dtype)
        tensors = {prompt_key(options.prompt): embedding.clone()}
        prompt_embedding(tensors, options.prompt, text_dim=embedding.shape[-1])
        facts = {"prompt": options.prompt, "tokens": str(int(embedding[0].ne(0).any(-1).sum())), "encoder": "umt5"}
        with atomic_write(path, "wb") as file:
            file.write(safetensors.torch.save(tensors, metadata=facts))
    except BenchError as error:
        sys.stderr.write("\n".join(["error: " + error.lines()[0], *error.lines()[1:]]) + "\n")
        return 2
    sys.stdout.write(f"wrote {path}: {facts['tokens']} tokens of {options.prompt!r}, then zeros, {options.dtype}\n")
    return 0


def _how(prompt: str) -> str:
    return f"make it: {_COMMAND} --model DIR --prompt {shlex.quote(prompt)} --out FILE"


if __name__ == "__main__":
    sys.exit(main())
