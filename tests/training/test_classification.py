"""Classifiers train through the same wiring: every method, and a head that survives."""

from __future__ import annotations

import shlex

import pytest
import torch
import transformers
from rowfiles import write_rows
from safetensors.torch import load_file, save_file
from tinyclassifier import rows, write_base, write_recipe

from edgetune.cli import main
from edgetune.data.encoding import Encoded
from edgetune.errors import DataError, ModelError, RecipeError
from edgetune.models.classifier import longest_text, open_classifier_base
from edgetune.recipe import MethodSettings
from edgetune.runtimes.torch_classifier import open_torch_classifier
from edgetune.training import train
from edgetune.training.classification import class_loss, collate
from edgetune.training.methods import apply_method


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "bert")


def accuracy(run, merge=False):
    model = open_torch_classifier(run, merge=merge)
    found = model.logits([row["text"] for row in rows(24, start=64)]).argmax(-1)
    return sum(model.labels[n] == row["label"] for n, row in zip(found, rows(24, start=64), strict=True)) / 24


METHODS = {
    "lora": {"kind": "lora", "rank": 4},
    "rslora": {"kind": "rslora", "rank": 4},
    "dora": {"kind": "dora", "rank": 4},
    "full": {"kind": "full"},
    "last layer": {"kind": "freeze", "train_last_layers": 1},
    "head": {"kind": "freeze", "train_head_only": True},
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_learns_and_keeps_its_head(base, tmp_path, method):
    run = train(write_recipe(tmp_path / "r", base, method=method), tmp_path / "run")
    assert run.manifest.labels == ("negative", "positive")
    assert run.manifest.max_tokens == 32
    assert accuracy(run) >= (0.6 if method.get("train_head_only") else 0.9)
    merged = open_torch_classifier(run, merge=True).logits(["the film was lovely"])
    beside = open_torch_classifier(run).logits(["the film was lovely"])
    assert torch.allclose(torch.tensor(merged), torch.tensor(beside), atol=1e-4)


def test_an_adapter_stores_its_head_whole(base, tmp_path):
    run = train(write_recipe(tmp_path / "r", base), tmp_path / "run")
    stored = load_file(run.adapter_folder / "adapter_model.safetensors")
    assert [tuple(value.shape) for name, value in stored.items() if ".classifier.weight" in name] == [(2, 32)]


def test_head_only_leaves_the_body_alone(base, tmp_path):
    run = train(write_recipe(tmp_path / "r", base, method=METHODS["head"]), tmp_path / "run")
    before, after = load_file(base / "model.safetensors"), load_file(run.model_folder / "model.safetensors")
    assert all(torch.equal(value, after[f"bert.{name}"]) for name, value in before.items())
    assert set(after) - {f"bert.{name}" for name in before} == {"classifier.weight", "classifier.bias"}


def test_a_stopped_training_goes_on_to_the_same_weights(base, tmp_path):
    whole = train(write_recipe(tmp_path / "a", base), tmp_path / "run-a")
    resolved = write_recipe(tmp_path / "b", base, train={"save_every": 16})
    run = train(resolved, tmp_path / "run-b")
    for folder in sorted(run.checkpoints_folder.iterdir())[1:]:
        __import__("shutil").rmtree(folder)
    __import__("shutil").rmtree(run.adapter_folder)
    run.update_manifest(state="training")
    train(resolved, tmp_path / "run-b")
    one, other = (load_file(r.adapter_folder / "adapter_model.safetensors") for r in (whole, run))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_balanced_weights_lift_the_rare_class(base, tmp_path):
    found = [row for row in rows(64) if row["label"] == "negative" or row["text"].endswith(("1", "3"))]
    resolved = write_recipe(tmp_path / "r", base, train={"class_weights": "balanced", "max_steps": 2})
    write_rows(tmp_path / "r" / "train.jsonl", found)
    from edgetune.training.lessons import encode_run

    run = train(resolved, tmp_path / "run")
    encoded = encode_run(run, run.recipe)
    negative, positive = encoded.weights
    assert positive > 1 > negative
    counts = [sum(row.labels[0] == n for row in encoded.train) for n in (0, 1)]
    assert counts[0] * negative == pytest.approx(counts[1] * positive)


def test_the_loss_is_a_weighted_sum_over_rows():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    model = lambda **_: type("Out", (), {"logits": logits})()  # noqa: E731
    batch = collate([Encoded((1, 2), (0,)), Encoded((1,), (1,)), Encoded((3,), (1,))], pad_id=9)
    assert batch["input_ids"].tolist() == [[1, 2], [1, 9], [3, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0], [1, 0]]
    each = -torch.log_softmax(logits, -1)[range(3), [0, 1, 1]]
    assert class_loss(())(model, batch).item() == pytest.approx(each.sum().item())
    assert class_loss((1.0, 3.0))(model, batch).item() == pytest.approx((each * torch.tensor([1.0, 3, 3])).sum().item())


def prepared(base, tmp_path, heldout=None, train_rows=None, **sections):
    resolved = write_recipe(tmp_path / "r", base, **sections)
    if train_rows is not None:
        write_rows(tmp_path / "r" / "train.jsonl", train_rows)
    if heldout is not None:
        write_rows(tmp_path / "r" / "heldout.jsonl", heldout)
    return train(resolved, tmp_path / "run")


def test_one_class_is_refused(base, tmp_path):
    with pytest.raises(DataError, match=r"train.jsonl: all 3 training rows have the class 'negative'"):
        prepared(base, tmp_path, train_rows=[row for row in rows(6) if row["label"] == "negative"])
    assert not (tmp_path / "run").exists()


def test_a_held_out_class_that_training_lacks_is_named_with_its_line(base, tmp_path):
    with pytest.raises(DataError, match="rows of a class that no training row has: 1") as error:
        prepared(base, tmp_path, heldout=[*rows(2, start=64), {"text": "so so", "label": "neutral"}])
    assert error.value.problems[0].endswith("heldout.jsonl:3: held-out row of class 'neutral'")


def test_empty_texts_and_labels_are_named_with_their_lines(base, tmp_path):
    bad = [
        *rows(4),
        {"text": " ", "label": "positive"},
        {"text": "x", "label": ""},
        {"text": "y"},
        {"text": "z", "label": 0.5},
    ]
    with pytest.raises(DataError) as error:
        prepared(base, tmp_path, train_rows=bad)
    told = [problem.rpartition("train.jsonl:")[2] for problem in error.value.problems]
    assert told == [
        "5: 'text' is empty",
        "6: 'label' is empty",
        "7: lacks the keys text+label (it has: 'text')",
        "8: 'label' is float, not the name of a class",
    ]


def test_unequal_columns_are_named_with_their_line(base, tmp_path):
    resolved = write_recipe(tmp_path / "r", base, data={"train": "train.csv"})
    (tmp_path / "r" / "train.csv").write_text("text,label\nfine,positive\nbad,negative,what\ndull\n")
    with pytest.raises(DataError) as error:
        train(resolved, tmp_path / "run")
    assert [problem.rpartition("train.csv:")[2] for problem in error.value.problems] == [
        "3: has 3 columns where the header has 2",
        "4: has 1 columns where the header has 2",
    ]


def test_columns_have_names_of_their_own(base, tmp_path):
    lines = "".join(f"{row['text']};{n % 2}\n" for n, row in enumerate(rows(40)))
    sections = {"data": {"train": "t.csv", "heldout": None, "text_column": "review", "label_column": "stars"}}
    resolved = write_recipe(tmp_path / "r", base, **sections, train={"max_steps": 2})
    (tmp_path / "r" / "t.csv").write_text(f"review;stars\n{lines}")
    run = train(resolved, tmp_path / "run")
    assert run.manifest.labels == ("0", "1")
    assert '"label": "' in run.heldout_file.read_text()


def test_the_hint_reads_the_file_in_the_same_way(base, tmp_path, capsys):
    resolved = write_recipe(tmp_path / "r", base, data={"train": "t.csv", "text_column": "my review"})
    (tmp_path / "r" / "t.csv").write_text("my review,label\ngood,positive\n ,negative\n")
    with pytest.raises(DataError) as error:
        train(resolved, tmp_path / "run")
    command = error.value.hint.removesuffix(" lists them all")
    assert command.endswith("t.csv --format labelled --text-column 'my review'")
    assert main(shlex.split(command)[1:]) == 4
    assert "t.csv:3: 'text' is empty" in capsys.readouterr().err


def test_a_text_in_both_files_is_a_leak(base, tmp_path):
    with pytest.raises(DataError, match="1 of 2 held-out rows are in the training rows too"):
        prepared(base, tmp_path, heldout=[rows(1)[0], *rows(1, start=64)])


def test_long_texts_are_dropped_cut_or_refused(base, tmp_path, capsys):
    long = {"text": "very " * 60, "label": "positive"}
    prepared(base, tmp_path / "drop", train_rows=[*rows(32), long], train={"max_steps": 1})
    assert "1 rows dropped, above 32 tokens" in capsys.readouterr().err
    prepared(
        base, tmp_path / "cut", train_rows=[*rows(32), long], train={"max_steps": 1}, data={"too_long": "truncate"}
    )
    assert "1 rows cut, above 32 tokens" in capsys.readouterr().err
    with pytest.raises(DataError, match="1 rows are longer than 32 tokens"):
        prepared(base, tmp_path / "no", train_rows=[*rows(32), long], data={"too_long": "error"})


@pytest.mark.parametrize("weights", ["balanced", "none"])
def test_a_class_whose_texts_are_all_too_long_is_said(base, tmp_path, weights):
    long = [{"text": "very " * 60 + str(n), "label": "neither"} for n in range(2)]
    with pytest.raises(DataError, match="every row of class neither is longer than 32 tokens") as raised:
        prepared(base, tmp_path / "r", train_rows=[*rows(32), *long], train={"class_weights": weights})
    assert "too_long: truncate" in raised.value.hint


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"method": {"kind": "qlora"}}, "method.kind qlora is for generation"),
        ({"task": {"system": "Be brief"}}, "task.system is for generation"),
        ({"task": {"metrics": ["json"]}}, "task.metrics are for generation"),
        ({"data": {"format": "messages"}}, "data.format messages is not for text-classification"),
        ({"exports": [{"format": "gguf"}]}, "exports.format gguf cannot hold a classifier"),
        ({"bench": {"target": "interactive"}}, "bench.target and bench.slo are for generation"),
        ({"task": {"kind": "generation"}, "train": {"class_weights": "balanced"}}, "class_weights needs task.kind"),
    ],
)
def test_settings_of_another_task_are_refused_by_name(base, tmp_path, sections, message):
    with pytest.raises(RecipeError) as error:
        write_recipe(tmp_path / "r", base, **sections)
    assert message in error.value.problems[0]


def bert(**changes):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "max_position_embeddings": 32, "pad_token_id": 0}
    torch.manual_seed(1)
    return BertForSequenceClassification(BertConfig(**sizes | more | changes))


def without(folder, part):
    """The same model folder with the tensors of a part left out."""
    stored = load_file(folder / "model.safetensors")
    save_file({n: v for n, v in stored.items() if part not in n}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(("classes", "missing"), [(2, ()), (3, ("classifier",))])
def test_a_head_for_other_classes_is_made_anew_and_any_head_trains_whole(tmp_path, classes, missing):
    opened = open_classifier_base(write_base(tmp_path / "b", bert(num_labels=classes)), ("bad", "good"))
    assert opened.model.classifier.weight.shape == (2, 16)
    assert opened.head == ("classifier",)
    assert opened.missing == missing


def test_a_base_without_a_pooler_gets_one_that_trains(tmp_path):
    folder = without(write_base(tmp_path / "b", bert()), "pooler")
    assert open_classifier_base(folder, ("bad", "good")).head == ("bert.pooler", "classifier")


def test_a_base_that_lacks_more_than_its_head_is_refused(tmp_path):
    folder = without(write_base(tmp_path / "b", bert()), "query")
    with pytest.raises(ModelError, match=r"do not fit its config\.json") as error:
        open_classifier_base(folder, ("bad", "good"))
    assert error.value.problems
    assert all("query" in problem for problem in error.value.problems)


FAMILIES = {
    "distilbert": (
        "DistilBert",
        {"dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2},
        {"pre_classifier", "classifier"},
    ),
    "roberta": ("Roberta", {"max_position_embeddings": 34, "pad_token_id": 1}, {"classifier"}),
    "modernbert": ("ModernBert", {"global_attn_every_n_layers": 1}, {"head", "classifier"}),
    "llama": ("Llama", {"num_key_value_heads": 2}, {"score"}),
}


@pytest.mark.parametrize(("name", "changes", "head"), FAMILIES.values(), ids=FAMILIES)
def test_other_families_have_their_heads_found(tmp_path, name, changes, head):
    sizes = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "max_position_embeddings": 32, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**sizes | more | changes)
    folder = write_base(tmp_path / "b", getattr(transformers, f"{name}Model")(config))
    opened = open_classifier_base(folder, ("bad", "good"))
    assert set(opened.head) == head
    assert longest_text(opened.model.config) == 32
    adapted = apply_method(opened.model, MethodSettings(rank=2), opened.head)
    trained = {n for n, p in adapted.model.named_parameters() if p.requires_grad}
    assert all(any(f".{part}." in n and "modules_to_save" in n for n in trained) for part in head)
    assert not any("lora" in n and f".{part}." in n for n in trained for part in head)
