import json
import random

import pytest
import yaml
from rowfiles import write_rows
from tinyimages import write_pictures

from edgetune.cli import main
from edgetune.data.bases import BASES
from edgetune.data.initialise import write_recipe
from edgetune.errors import DataError, ModelError, RecipeError
from edgetune.recipe import resolve


def write(tmp_path, name, *rows):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_rows(path, rows)


def asks(count, answer=lambda i: f"answer {i}"):
    return [{"prompt": f"question {i}", "completion": answer(i)} for i in range(count)]


def propose(data, output, **options):
    write_recipe(str(data), output, **options)
    return resolve(output).recipe


def test_every_value_has_a_comment_and_the_recipe_is_valid(tmp_path):
    data = write(tmp_path, "rows/Bank FAQ.jsonl", *asks(50))
    recipe = propose(data, tmp_path / "recipe.yaml")
    assert recipe.name == "bank-faq"
    assert recipe.data.format == "prompt-completion"
    lines = (tmp_path / "recipe.yaml").read_text().splitlines()
    values = [i for i, line in enumerate(lines) if line.startswith("  ") and ":" in line and "#" not in line]
    assert len(values) > 15
    assert all(lines[i - 1].strip().startswith("# ") for i in values)


def test_paths_are_relative_to_the_recipe(tmp_path):
    data = write(tmp_path, "rows/a.jsonl", *asks(5))
    output = tmp_path / "recipes" / "a.yaml"
    assert propose(data, output).data.train == "../rows/a.jsonl"
    assert resolve(output).locate("../rows/a.jsonl") == data.resolve()


def test_a_heldout_file_beside_the_data_is_used(tmp_path):
    data = write(tmp_path, "train.jsonl", *asks(5))
    write(tmp_path, "test.jsonl", {"prompt": "another", "completion": "x"})
    recipe = propose(data, tmp_path / "r.yaml")
    assert recipe.data.heldout == "test.jsonl"
    assert "heldout_share" not in (tmp_path / "r.yaml").read_text()


def test_a_heldout_file_that_leaks_is_refused(tmp_path):
    data = write(tmp_path, "train.jsonl", *asks(5))
    write(tmp_path, "test.jsonl", *asks(1))
    with pytest.raises(DataError, match="1 problem"):
        write_recipe(str(data), tmp_path / "r.yaml")
    assert not (tmp_path / "r.yaml").exists()


@pytest.mark.parametrize(
    ("answer", "metrics"),
    [
        (lambda i: json.dumps({"n": i}), ("exact_match", "json")),
        (lambda i: f"yes {i}", ("exact_match",)),
        (lambda i: f"this is a long answer about the number {i} and others", ("rouge_l", "chrf")),
        (str, ("exact_match",)),
    ],
)
def test_metrics_follow_the_answers(tmp_path, answer, metrics):
    assert propose(write(tmp_path, "a.jsonl", *asks(20, answer)), tmp_path / "r.yaml").task.metrics == metrics


def test_plain_text_has_no_metrics(tmp_path):
    recipe = propose(write(tmp_path, "a.jsonl", {"text": "one"}, {"text": "two"}), tmp_path / "r.yaml")
    assert (recipe.data.format, recipe.task.metrics) == ("text", ())


@pytest.mark.parametrize(("count", "epochs", "batch", "share"), [(50, 5, 8, 0.2), (600, 3, 8, 0.1), (6000, 2, 16, 0.1)])
def test_the_number_of_rows_decides_epochs_batch_and_share(tmp_path, count, epochs, batch, share):
    recipe = propose(write(tmp_path, "a.jsonl", *asks(count)), tmp_path / "r.yaml")
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.data.heldout_share) == (epochs, batch, share)
    assert (recipe.method.rank, recipe.method.effective_alpha) == (8, 16)  # the default model is small


def test_one_huge_row_does_not_set_the_limits(tmp_path):
    rows = [*asks(300), {"prompt": "word " * 5000, "completion": "x"}]
    recipe = propose(write(tmp_path, "a.jsonl", *rows), tmp_path / "r.yaml")
    assert recipe.data.max_tokens < 500
    assert recipe.task.max_new_tokens == 16


def test_no_row_is_dropped_when_tokens_were_counted(tmp_path, tiny_base):
    words = ["turn", "on", "the", "kitchen", "lights", "please"]
    choose = random.Random(0)
    rows = [
        {"prompt": " ".join(choose.choices(words, k=choose.randint(2, 30))) + str(i), "completion": "ok"}
        for i in range(40)
    ]
    recipe = propose(write(tmp_path, "a.jsonl", *rows), tmp_path / "r.yaml", model=str(tiny_base))
    text = (tmp_path / "r.yaml").read_text()
    longest = int(text.split("the longest ")[1].split()[0])
    assert longest <= recipe.data.max_tokens <= 256  # the tiny model's context
    assert "counted as the model reads them" in " ".join(text.split())
    assert resolve(tmp_path / "r.yaml").locate(recipe.model.source) == tiny_base


def test_without_the_packaged_model_the_hub_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert propose(write(tmp_path, "a.jsonl", *asks(5)), tmp_path / "r.yaml").model.source == BASES["generation"].hub


def test_an_existing_recipe_is_kept_unless_forced(tmp_path):
    data = write(tmp_path, "a.jsonl", *asks(5))
    output = tmp_path / "r.yaml"
    output.write_text("mine")
    with pytest.raises(RecipeError, match="exists") as caught:
        write_recipe(str(data), output)
    assert "--force" in caught.value.hint
    assert output.read_text() == "mine"
    assert propose(data, output, force=True).data.train == "a.jsonl"


def test_rows_that_cannot_be_used_are_refused(tmp_path):
    data = write(tmp_path, "a.jsonl", *asks(2), {"prompt": "x", "completion": ""})
    with pytest.raises(DataError) as caught:
        write_recipe(str(data), tmp_path / "r.yaml")
    assert caught.value.problems == (f"{data}:3: message 2 (assistant) is an empty answer",)


@pytest.mark.parametrize("name", ["yes", "null", "12", "a: b", "#x", "ünï", "- x"])
def test_awkward_file_names_still_give_valid_yaml(tmp_path, name):
    data = write(tmp_path, f"{name}.jsonl", *asks(3))
    recipe = propose(data, tmp_path / "r.yaml")
    assert recipe.data.train == f"{name}.jsonl"
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["name"] == recipe.name


def test_the_command_prints_the_path_and_the_reasons(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.jsonl", *asks(5))
    assert main(["init", "a.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out == "recipe.yaml\n"
    assert "data.format = prompt-completion: keys 'prompt' and 'completion' in 5 of 5 rows" in err
    assert "next: edgetune run recipe.yaml" in err
    assert main(["recipe", "check", "recipe.yaml"]) == 0
    assert main(["init", "a.jsonl"]) == 3


def test_a_system_prompt_that_all_rows_share_travels_with_the_artifact(tmp_path):
    def row(number, system):
        messages = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
        return {"messages": [{"role": "system", "content": system}, *messages] if system else messages}

    shared = [row(n, "Be brief.") for n in range(20)]
    assert propose(write(tmp_path, "a.jsonl", *shared), tmp_path / "1.yaml").task.system == "Be brief."
    for other in ("Be long.", None):
        name = f"{other}.jsonl"
        assert propose(write(tmp_path, name, *shared, row(20, other)), tmp_path / f"{other}.yaml").task.system is None


def classed(count, text="text", label="label"):
    names = ("billing", "billing", "shipping")
    return [{text: f"message number {i} about things", label: names[i % 3]} for i in range(count)]


def test_rows_with_a_class_make_a_recipe_for_a_classifier(tmp_path):
    recipe = propose(write(tmp_path, "a.jsonl", *classed(300)), tmp_path / "r.yaml")
    assert (recipe.task.kind, recipe.method.kind, recipe.train.class_weights) == (
        "text-classification",
        "lora",
        "balanced",
    )
    assert [(export.format, export.quant) for export in recipe.exports] == [("onnx", ("fp16", "int8"))]
    assert recipe.data.heldout_share == 0.3  # of 300 rows: 90, which tell more than 30
    assert "keys 'text' and 'label' in 100 of 100 rows" in (tmp_path / "r.yaml").read_text()


def test_a_label_of_something_else_does_not_make_a_class(tmp_path):
    rows = [row | {"label": "easy"} for row in asks(20)]
    assert propose(write(tmp_path, "a.jsonl", *rows), tmp_path / "r.yaml").task.kind == "generation"
    some = [{"text": "one", "label": "a"}, {"text": "two"}]
    assert propose(write(tmp_path, "b.jsonl", *some), tmp_path / "s.yaml").task.kind == "generation"


def test_columns_of_other_names_are_named_on_the_command_line(tmp_path, capsys):
    data = write(tmp_path, "a.jsonl", *classed(50, "message", "team"))
    output = tmp_path / "r.yaml"
    assert main(["init", str(data), "--output", str(output)]) == 4
    assert "--text-column" in capsys.readouterr().err
    columns = ["--text-column", "message", "--label-column", "team"]
    assert main(["init", str(data), "--output", str(output), *columns]) == 0
    recipe = resolve(output).recipe
    assert (recipe.task.kind, recipe.data.text_column, recipe.data.label_column) == (
        "text-classification",
        "message",
        "team",
    )


def test_a_column_that_is_not_there_is_named_once_with_the_nearest(tmp_path, capsys):
    data = write(tmp_path, "a.jsonl", *classed(50, "message", "team"))
    columns = ["--text-column", "message", "--label-column", "teams"]
    assert main(["init", str(data), "--output", str(tmp_path / "r.yaml"), *columns]) == 4
    said = capsys.readouterr().err
    assert said.count("no row has the column 'teams'") == 1
    assert "did you mean 'team'?" in said


def test_what_the_user_says_a_file_is_for_goes_before_its_keys(tmp_path):
    data = write(tmp_path, "a.jsonl", *classed(50))
    output = tmp_path / "r.yaml"
    assert main(["init", str(data), "--output", str(output), "--task", "generation"]) == 0
    assert resolve(output).recipe.data.format == "text"


def test_one_class_alone_makes_no_recipe(tmp_path):
    rows = [{"text": f"text {i}", "label": "same"} for i in range(20)]
    with pytest.raises(DataError, match="all rows have the class 'same'"):
        write_recipe(str(write(tmp_path, "a.jsonl", *rows)), tmp_path / "r.yaml")


def test_folders_of_images_make_a_recipe_of_their_size(tmp_path):
    write_pictures(tmp_path / "train", 20)
    write_pictures(tmp_path / "test", 8, start=20)
    recipe = propose(tmp_path / "train", tmp_path / "r.yaml")
    assert (recipe.task.kind, recipe.method.kind, recipe.data.train) == ("image-classification", "full", "train")
    assert recipe.data.heldout == "test"
    assert recipe.data.image_size == 64  # the pictures are smaller
    assert recipe.exports[0].quant == ("fp16", "int8_static")


def test_a_test_file_without_classes_is_not_used_and_that_is_said(tmp_path, capsys):
    data = write(tmp_path, "train.jsonl", *classed(50))
    write(tmp_path, "test.jsonl", {"text": "to be sent in"})
    output = tmp_path / "r.yaml"
    assert main(["init", str(data), "--output", str(output)]) == 0
    assert resolve(output).recipe.data.heldout is None
    assert "test.jsonl: lies beside the data and is not used: " in capsys.readouterr().err


def test_warnings_of_the_rows_are_shown(tmp_path, capsys):
    data = write(tmp_path, "a.jsonl", *classed(50), {"text": "once", "label": "rare"})
    assert main(["init", str(data), "--output", str(tmp_path / "r.yaml")]) == 0
    assert "one row only of the class 'rare'" in capsys.readouterr().err


def test_rates_of_our_own_bases_are_not_said_of_others(tmp_path, tiny_base):
    data = write(tmp_path, "a.jsonl", *classed(50))
    write_recipe(str(data), tmp_path / "own.yaml")
    write_recipe(str(data), tmp_path / "other.yaml", model=str(tiny_base))
    own, other = (" ".join((tmp_path / name).read_text().split()) for name in ("own.yaml", "other.yaml"))
    assert "as in the sentiment recipe, for MiniLM" in own
    assert "not measured" not in own
    assert "for this base it was not measured" in other.replace("# ", "")


def test_an_image_base_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelError):
        write_recipe(str(write_pictures(tmp_path / "train", 8)), tmp_path / "r.yaml", model=str(tmp_path / "gone"))


def test_a_column_in_which_each_row_differs_is_no_class(tmp_path, capsys):
    rows = [{"text": f"text {n}", "label": f"id {n}"} for n in range(20)]
    assert main(["init", str(write(tmp_path, "a.jsonl", *rows)), "--output", str(tmp_path / "r.yaml")]) == 4
    assert "20 classes for 20 rows: too many to be learnt and asked after" in capsys.readouterr().err


def test_the_recipe_says_the_command_that_writes_it_again(tmp_path):
    data = write(tmp_path, "a.jsonl", *classed(50, "message", "team"))
    output = tmp_path / "r.yaml"
    columns = ["--text-column", "message", "--label-column", "team"]
    assert main(["init", str(data), "--output", str(output), *columns]) == 0
    said = output.read_text().splitlines()[0]
    assert said == f"# Written by: edgetune init {data} --task text-classification {' '.join(columns)}"
    assert "2 classes of 16 to 34 rows" in " ".join(output.read_text().split())


def test_a_held_out_row_without_a_class_is_an_error_and_no_other_split_is_made(tmp_path):
    data = write(tmp_path, "train.jsonl", *classed(50))
    write(tmp_path, "test.jsonl", {"text": "with", "label": "billing"}, {"text": "without", "label": ""})
    with pytest.raises(DataError) as caught:
        write_recipe(str(data), tmp_path / "r.yaml")
    assert any("test.jsonl:2: 'label' is empty" in problem for problem in caught.value.problems)


def test_the_base_that_was_measured_is_known_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    pictures = write_pictures(tmp_path / "train", 8)
    write_recipe(str(pictures), tmp_path / "r.yaml")
    assert "for this base it was not measured" in " ".join((tmp_path / "r.yaml").read_text().replace("# ", "").split())
    assert BASES["text-classification"].is_this("sentence-transformers/all-MiniLM-L6-v2")
    assert not BASES["image-classification"].is_this("microsoft/resnet-18")
