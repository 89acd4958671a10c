"""DiffST's fixed prompt: the command that embeds it with a tiny UMT5, the file, and what loading refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from stvsr_bench.core.errors import BenchError, ConfigError, WeightError
from stvsr_bench.methods.diffst.prompt import (
    embed_prompt,
    load_prompt,
    main,
    prompt_embedding,
    prompt_key,
    seeded_prompt,
)

WORDS = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "sharp": 4, "video": 5, "&": 6}
DIM = 16
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UMT5 and its tokenizer in the layout of Wan2.1, tiny and random."""
    folder = tmp_path_factory.mktemp("wan")
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=8, d_model=DIM, d_kv=4, d_ff=32, num_layers=2, num_heads=4, dropout_rate=0.5)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    for file in model.rglob("*.*"):
        target = tmp_path / "model" / file.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return tmp_path / "model"


def direct(model: Path, ids: list[int]) -> Tensor:
    """What the encoder says of these tokens alone, without padding."""
    encoder = UMT5EncoderModel.from_pretrained(model / "text_encoder").eval()
    with torch.no_grad():
        out: Tensor = encoder(torch.tensor([ids])).last_hidden_state
    return out[0]


def test_the_key_is_the_sha256_of_the_prompt() -> None:
    """Catches a key that is another hash, or that forgets the encoding of the text."""
    assert prompt_key("") == EMPTY == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert prompt_key("vidéo") == hashlib.sha256("vidéo".encode()).hexdigest()


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [("", [1]), ("a sharp video", [3, 4, 5, 1]), ("  a\n sharp ", [3, 4, 1]), ("a &amp;amp; video", [3, 6, 5, 1])],
)
def test_an_embedding_is_the_encoders_then_zeros(model: Path, prompt: str, ids: list[int]) -> None:
    """Catches padding that is attended to or kept, dropout that is on, the end token left out, entities kept."""
    embedding = embed_prompt(model, prompt, tokens=12, dtype="float32")
    assert embedding.shape == (1, 12, DIM)
    torch.testing.assert_close(embedding[0, : len(ids)], direct(model, ids), rtol=1e-5, atol=1e-5)
    assert embedding[0, len(ids) :].eq(0).all()
    assert torch.equal(prompt_embedding({prompt_key(prompt): embedding}, prompt, tokens=12, text_dim=DIM), embedding)


def test_the_command_writes_what_the_loader_reads(model: Path, tmp_path: Path) -> None:
    """Run as documented. Catches a package that imports the module first (a warning), and a file without its facts."""
    out = tmp_path / "new" / "prompt (1).safetensors"
    command = [sys.executable, "-W", "error::RuntimeWarning:runpy", "-m", "stvsr_bench.methods.diffst.prompt"]
    command += ["--model", str(model), "--prompt", "", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"wrote {out}: 1 tokens of ''" in done.stdout
    embedding = load_prompt(out, text_dim=DIM)
    assert embedding.shape == (1, 512, DIM)
    assert torch.equal(embedding, embed_prompt(model, ""))
    assert embedding.dtype == torch.bfloat16
    assert list(load_file(out)) == [EMPTY]
    with safetensors.safe_open(out, "pt") as file:
        assert file.metadata() == {"prompt": "", "tokens": "1", "encoder": "umt5"}


def test_the_command_keeps_what_exists(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.safetensors"
    out.write_text("precious")
    assert main(["--model", str(model), "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert out.read_text() == "precious"


@pytest.mark.parametrize("part", ["text_encoder", "tokenizer"])
def test_the_command_names_what_is_missing(
    part: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / part).rename(tmp_path / "elsewhere")
    assert main(["--model", str(copied), "--out", str(tmp_path / "p.safetensors")]) == 2
    error = capsys.readouterr().err
    assert f"no {part}/" in error
    assert "Traceback" not in error
    assert not (tmp_path / "p.safetensors").exists()


def without_a_tensor(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.block.1.layer.0.SelfAttention.q.weight"]
    save_file(tensors, file, metadata={"format": "pt"})


def with_a_tensor_more(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    save_file({**load_file(file), "extra.weight": torch.zeros(2)}, file, metadata={"format": "pt"})


def wider(folder: Path) -> None:
    file = folder / "text_encoder" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "d_ff": 48}))


def cut_short(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def pickled(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(file), folder / "text_encoder" / "pytorch_model.bin")
    file.unlink()


def no_tokenizer_file(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (without_a_tensor, "1 missing: encoder.block.1.layer.0.SelfAttention.q.weight"),
        (with_a_tensor_more, "1 unexpected: extra.weight"),
        (wider, "do not fit|cannot be read"),
        (cut_short, "cannot be read"),
        (pickled, "cannot be read"),
        (no_tokenizer_file, "cannot be read"),
    ],
)
def test_a_damaged_encoder_is_refused(copied: Path, damage: Callable[[Path], None], complaint: str) -> None:
    """Catches parameters that the library fills at random and only warns of, and pickles that it would read."""
    damage(copied)
    with pytest.raises(WeightError, match=complaint):
        embed_prompt(copied, "", tokens=8)


def test_a_prompt_that_is_too_long_is_refused(model: Path) -> None:
    """Catches a prompt that is cut in silence."""
    assert embed_prompt(model, "a " * 7, tokens=8).ne(0).any(-1).sum() == 8
    with pytest.raises(ConfigError, match="too many tokens; got 9"):
        embed_prompt(model, "a " * 8, tokens=8)
    with pytest.raises(ConfigError, match="bfloat16, float32"):
        embed_prompt(model, "", dtype="float8")


def good() -> Tensor:
    return seeded_prompt("", tokens=8, text_dim=DIM)


def filled(rows: list[int], value: float = 1.0) -> Tensor:
    tensor = torch.zeros(1, 8, DIM)
    tensor[:, rows] = value
    return tensor


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({}, "no tensor"),
        ({prompt_key("another"): good()}, f"accepted: '{EMPTY}'"),
        ({EMPTY: good()[0]}, r"float32 \[8, 16\]"),
        ({EMPTY: good()[:, :4]}, r"float32 \[1, 4, 16\]"),
        ({EMPTY: good().int()}, "int32"),
        ({EMPTY: filled([0], float("nan"))}, "not finite"),
        ({EMPTY: filled([])}, "only zeros"),
        ({EMPTY: filled([0, 2])}, "the last is token 3"),
        ({EMPTY: filled(list(range(8)))}, "8 of 8 tokens are not zero"),
    ],
)
def test_embeddings_that_are_not_the_prompts_are_refused(tensors: dict[str, Tensor], complaint: str) -> None:
    """Catches an encoder's output that nobody masked, another prompt's embedding, and a cut one."""
    with pytest.raises(WeightError, match=complaint) as error:
        prompt_embedding(tensors, "", tokens=8, text_dim=DIM)
    assert "python -m stvsr_bench.methods.diffst.prompt --model DIR --prompt '' --out FILE" in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"no file .*--prompt ''"):
        load_prompt(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(BenchError, match="cannot be read as safetensors"):
        load_prompt(tmp_path / "bad.safetensors")


def test_a_made_up_embedding_has_the_form_of_a_true_one() -> None:
    """Catches one that differs from run to run, and one that is zero throughout (nothing would be tested with it)."""
    made = seeded_prompt()
    assert made.shape == (1, 512, 4096)
    assert torch.equal(made, seeded_prompt())
    assert not torch.equal(made, seeded_prompt("a"))
    assert torch.equal(prompt_embedding({EMPTY: made}), made)
