"""Image classifiers train through the same wiring: every method and family, and statistics that stay what they are."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import transformers
from imagefamilies import FAMILIES
from PIL import Image
from safetensors.torch import load_file
from tinyimages import LABELS, SMALL, picture, write_base, write_pictures, write_recipe

from edgetune.errors import DataError, ModelError, RecipeError
from edgetune.images.augmenting import Augmentation
from edgetune.models.classifier import open_classifier_base
from edgetune.recipe import MethodSettings
from edgetune.runtimes.torch_classifier import open_torch_classifier
from edgetune.training import train
from edgetune.training.batch_norm import settle_batch_norms
from edgetune.training.image_classification import Frames, Picture
from edgetune.training.methods import apply_method, count_layers

METHODS = {
    "lora": {"kind": "lora", "rank": 4},
    "dora": {"kind": "dora", "rank": 4},
    "full": {"kind": "full"},
    "last stage": {"kind": "freeze", "train_last_layers": 1},
    "head": {"kind": "freeze", "train_head_only": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "resnet")


def tensors(run):
    folder = run.adapter_folder if run.adapter_folder.is_dir() else run.model_folder
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_learns_and_its_result_is_what_was_evaluated(base, tmp_path, method):
    run = train(write_recipe(tmp_path / "r", base, method=method), tmp_path / "run")
    assert run.manifest.labels == LABELS
    beside = open_torch_classifier(run)
    found = beside.logits([picture(n) for n in range(48, 64)])
    assert [int(row.argmax()) for row in found] == [n % 2 for n in range(48, 64)]
    rows = torch.tensor(found)
    loss = torch.nn.functional.cross_entropy(rows, torch.tensor([n % 2 for n in range(48, 64)]))
    assert loss.item() == pytest.approx(run.manifest.result["best_eval_loss"], abs=1e-4)
    merged = open_torch_classifier(run, merge=True).logits([picture(n) for n in range(48, 64)])
    assert np.allclose(merged, found, atol=1e-4)


def test_an_adapter_changes_convolutions_and_stores_its_head_whole(base, tmp_path):
    stored = tensors(train(write_recipe(tmp_path / "r", base, train={"max_steps": 1}), tmp_path / "run"))
    assert any(".convolution.lora_A" in name and value.ndim == 4 for name, value in stored.items())
    assert [tuple(v.shape) for n, v in stored.items() if n.endswith("classifier.1.weight")] == [(2, 16)]


def test_a_head_that_the_base_has_already_keeps_no_convolution_from_its_adapter(tmp_path):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=dict(enumerate(LABELS))
    )
    base = write_base(tmp_path / "resnet", transformers.ResNetForImageClassification(config))
    run = train(write_recipe(tmp_path / "r", base, train={"max_steps": 8}), tmp_path / "run")
    assert any(".convolution.lora_A" in name for name in tensors(run))
    pictures = [picture(n) for n in range(4)]
    beside, merged = (open_torch_classifier(run, merge=merge).logits(pictures) for merge in (False, True))
    assert np.allclose(merged, beside, atol=1e-4)


@pytest.mark.parametrize("name", ["lora", "head"])
def test_frozen_statistics_stay_and_trained_ones_move(base, tmp_path, name):
    before = load_file(base / "model.safetensors")
    run = train(write_recipe(tmp_path / "r", base, method=METHODS[name]), tmp_path / "run")
    if name == "head":
        after = tensors(run)
        assert all(torch.equal(after[n], v) for n, v in before.items() if "running" in n)
    whole = train(write_recipe(tmp_path / "f", base, method=METHODS["full"]), tmp_path / "full")
    assert any(not torch.equal(tensors(whole)[n], v) for n, v in before.items() if "running" in n)


def test_momentum_that_was_meant_for_tensorflow_is_turned_round():
    frozen, own = torch.nn.BatchNorm2d(4, momentum=0.997), torch.nn.BatchNorm2d(4, momentum=0.997)
    frozen.requires_grad_(False)
    model = torch.nn.Sequential(frozen, own)
    settle_batch_norms(model)
    model.train()
    assert (frozen.training, own.training) == (False, True)
    assert own.momentum == 0.1
    model(torch.full((8, 4, 2, 2), 50.0))
    assert frozen.running_mean.abs().max() == 0
    assert own.running_mean.max().item() == pytest.approx(5.0, rel=1e-3)


def test_a_stopped_training_goes_on_to_the_same_weights(base, tmp_path):
    augment = {"shift": 0.2, "rotate": 20, "flip": True}
    steps = {"save_every": 5, "max_steps": 14, "evaluate_every": 14}
    whole = train(write_recipe(tmp_path / "a", base, augment=augment, train=steps), tmp_path / "run-a")
    resolved = write_recipe(tmp_path / "b", base, augment=augment, train=steps)
    run = train(resolved, tmp_path / "run-b")
    for folder in run.checkpoints_folder.iterdir():
        if folder.name != "checkpoint-10":  # in the middle of the fourth pass
            shutil.rmtree(folder)
    shutil.rmtree(run.adapter_folder)
    run.update_manifest(state="training")
    train(resolved, tmp_path / "run-b")
    one, other = tensors(whole), tensors(run)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_batches_change_with_the_pass_for_training_rows_only(tmp_path):
    picture(1).save(tmp_path / "x.png")
    frames = Frames(SMALL, Augmentation(shift=0.3), seed=1)
    rows = [Picture(tmp_path / "x.png", 1, 0), Picture(tmp_path / "x.png", 1)]
    first, again = frames(rows), frames(rows)
    frames.start_pass(1)
    later = frames(rows)
    assert first["pixel_values"].shape == (2, 3, 32, 32)
    assert torch.equal(first["pixel_values"], again["pixel_values"])
    assert not torch.equal(first["pixel_values"][0], later["pixel_values"][0])
    assert torch.equal(first["pixel_values"][1], later["pixel_values"][1])
    assert np.allclose(later["pixel_values"][1], SMALL.pixels(picture(1)), atol=1e-6)


def test_pictures_are_opened_once_while_there_is_room(tmp_path, monkeypatch):
    picture(1).save(tmp_path / "x.png")
    opened = []
    from edgetune.training import image_classification

    real = image_classification.open_image
    monkeypatch.setattr(image_classification, "open_image", lambda path: opened.append(path) or real(path))
    rows = [Picture(tmp_path / "x.png", 1)]
    frames = Frames(SMALL, Augmentation(), seed=1)
    frames(rows), frames(rows)
    assert len(opened) == 1
    monkeypatch.setattr(image_classification, "KEPT_SHARE", 0.0)
    frames = Frames(SMALL, Augmentation(), seed=1)
    frames(rows), frames(rows)
    assert len(opened) == 3


def test_one_class_and_a_class_that_training_lacks_are_told(base, tmp_path):
    one = write_recipe(tmp_path / "one", base)
    shutil.rmtree(tmp_path / "one" / "train" / "red")
    with pytest.raises(DataError, match="all 24 training rows have the class 'blue'"):
        train(one, tmp_path / "run-1")
    more = write_recipe(tmp_path / "more", base)
    (tmp_path / "more" / "heldout" / "green").mkdir()
    picture(99).save(tmp_path / "more" / "heldout" / "green" / "1.png")
    with pytest.raises(DataError, match="rows of a class that no training row has: 1; trained on: blue, red"):
        train(more, tmp_path / "run-2")


def test_an_image_in_both_folders_is_a_leak(base, tmp_path):
    resolved = write_recipe(tmp_path / "r", base)
    write_pictures(tmp_path / "r" / "heldout", 2)
    with pytest.raises(DataError, match="2 of 18 held-out rows are in the training rows too"):
        train(resolved, tmp_path / "run")


def test_a_run_goes_on_only_with_the_images_that_it_began_with(base, tmp_path):
    resolved = write_recipe(tmp_path / "r", base, train={"max_steps": 1})
    run = train(resolved, tmp_path / "run")
    run.update_manifest(state="prepared")
    image = next((run.data_folder / "images").iterdir())
    Image.new("RGB", (4, 4)).save(image)
    with pytest.raises(DataError, match="are not those that it began with") as error:
        train(resolved, tmp_path / "run")
    assert error.value.problems == (f"{image}: changed since the run was prepared",)


def test_changed_preprocessing_is_refused(base, tmp_path):
    run = train(write_recipe(tmp_path / "r", base, train={"max_steps": 1}), tmp_path / "run")
    file = run.preprocessing_folder / "preprocessor_config.json"
    file.write_text(file.read_text().replace("0.485", "0.5"))
    with pytest.raises(ModelError, match="is not the one trained with"):
        open_torch_classifier(run)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"method": {"kind": "qlora"}}, "method.kind qlora is for generation"),
        ({"data": {"format": "labelled"}}, "data.format labelled is not for image-classification"),
        ({"exports": [{"format": "gguf"}]}, "exports.format gguf cannot hold a classifier"),
        ({"task": {"kind": "text-classification"}, "augment": {"shift": 0.1}}, "augment is for image-classification"),
        ({"task": {"kind": "generation"}, "data": {"image_size": 64}}, "data.image_size is for image-classification"),
        ({"augment": {"shift": 0.9}}, "augment.shift"),
    ],
)
def test_settings_that_do_not_suit_are_refused_by_name(base, tmp_path, sections, message):
    with pytest.raises(RecipeError) as error:
        write_recipe(tmp_path / "r", base, **sections)
    assert message in error.value.problems[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_head_found_and_its_layers_adapted(tmp_path, name):
    opened = open_classifier_base(write_base(tmp_path / "b", FAMILIES[name]()), LABELS, task="image-classification")
    assert opened.head == ("classifier",)
    assert opened.missing == ("classifier",)
    adapted = apply_method(opened.model, MethodSettings(rank=2), opened.head)
    trained = [n for n, p in adapted.model.named_parameters() if p.requires_grad]
    assert any("lora" in n for n in trained)
    assert any("classifier" in n and "modules_to_save" in n for n in trained)
    grouped = [n for n, m in opened.model.named_modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    assert not any(f".{n}.lora" in t for n in grouped for t in trained)
    pixels = torch.randn(2, 3, 32, 32)
    assert adapted.model(pixel_values=pixels).logits.shape == (2, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_layers_of_every_family_are_after_the_first(tmp_path, name):
    opened = open_classifier_base(write_base(tmp_path / "b", FAMILIES[name]()), LABELS, task="image-classification")
    apply_method(opened.model, MethodSettings(kind="freeze", train_last_layers=1), opened.head)
    trained = [p.requires_grad for _, p in opened.model.named_parameters()]
    assert trained[-1]
    assert not trained[0]
    assert trained == sorted(trained), "what trains comes after all that does not"


def test_the_layers_that_can_be_counted_are_counted_without_weights():
    counted = {name: count_layers(make().config) for name, make in FAMILIES.items()}
    assert counted == {"ResNet": 2, "MobileNetV2": 16, "ViT": 2, "ConvNext": 2, "EfficientNet": 7}


def test_a_model_built_for_one_size_says_so(tmp_path):
    folder = write_base(tmp_path / "vit", FAMILIES["ViT"]())
    with pytest.raises(ModelError, match=r"ViTForImageClassification does not take images of 48 x 48 pixels"):
        train(write_recipe(tmp_path / "r", folder, data={"image_size": 48}), tmp_path / "run")


def test_a_base_for_text_is_no_base_for_images(tmp_path):
    from tinyclassifier import write_base as write_text_base

    with pytest.raises(ModelError, match="does not say how pictures are prepared"):
        train(write_recipe(tmp_path / "r", write_text_base(tmp_path / "bert")), tmp_path / "run")
