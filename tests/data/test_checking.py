import json
import subprocess
import sys

import pytest
import tinyclassifier
from rowfiles import write_rows
from tinyimages import picture, write_pictures

from edgetune.cli import main
from edgetune.data.checking import Model, check_data, load_model
from edgetune.data.lengths import measure
from edgetune.data.reading import load_rows
from edgetune.errors import DataError


def ask(question, answer="ok"):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(tmp_path, name, *rows):
    return str(write_rows(tmp_path / name, rows))


@pytest.fixture
def model(make_tokenizer):
    return Model("tiny", make_tokenizer("chatml"), context=512, limit=100, parameters=1)


def texts(problems):
    return [problem.message for problem in problems]


def test_a_good_file(tmp_path):
    file = write(tmp_path, "a.jsonl", ask("one"), ask("two two", "ok then"))
    report = check_data(file)
    (found,) = report.files
    assert (found.rows, found.usable, found.duplicates) == (2, 2, 0)
    assert found.roles == {"user": 2, "assistant": 2}
    assert found.turns == {1: 2}
    assert (found.lengths.unit, found.lengths.minimum, found.lengths.maximum) == ("characters", 5, 14)
    assert (found.limit, report.problems) == (None, ())
    report.raise_on_errors()


def test_duplicates_and_contradictions_are_warnings(tmp_path):
    file = write(tmp_path, "a.jsonl", ask("one"), ask("one"), ask("one", "no"), ask("two"))
    report = check_data(file)
    assert report.errors == []
    assert texts(report.warnings) == [f"repeats {file}:1", f"asks the same as {file}:1, with another answer"]
    assert report.files[0].duplicates == 1


def test_one_answer_for_all_is_a_warning(tmp_path):
    assert texts(check_data(write(tmp_path, "a.jsonl", *(ask(str(i)) for i in range(10)))).warnings) == [
        "all 10 rows have the same answer"
    ]
    assert check_data(write(tmp_path, "b.jsonl", *(ask(str(i)) for i in range(9)))).warnings == []


def classed(**counts):
    return [{"text": f"{label} text {number}", "label": label} for label, n in counts.items() for number in range(n)]


def test_rows_with_a_class_are_counted_by_class(tmp_path, capsys):
    train = write(tmp_path, "train.jsonl", *classed(good=30, bad=15))
    heldout = write(tmp_path, "heldout.jsonl", *({"text": f"other {n}", "label": "bad"} for n in range(12)))
    report = check_data(train, heldout=heldout, format="labelled")
    assert [file.classes for file in report.files] == [{"bad": 15, "good": 30}, {"bad": 12}]
    assert (report.files[0].roles, report.files[0].turns, report.files[0].answers) == ({}, {}, None)
    assert report.files[0].lengths.maximum == len("good text 29"), "the class is not read"
    assert report.problems == (), "held-out rows may be of one class"
    assert main(["data", "check", train, "--format", "labelled"]) == 0
    out = capsys.readouterr().out
    assert "rows of each class\n bad ████████████████████ 15\ngood ████████████████████████████████████████ 30\n" in out
    assert "answers a row" not in out


def test_of_many_classes_the_extremes_are_printed(tmp_path, capsys):
    file = write(tmp_path, "many.jsonl", *classed(**{f"c{n:02}": n + 1 for n in range(30)}))
    assert main(["data", "check", file, "--format", "labelled"]) == 0
    out = capsys.readouterr().out
    assert "10 largest and smallest" in out
    assert ("c29" in out, "c15" in out, "c00" in out) == (True, False, True)


def test_classes_that_cannot_be_learnt_are_errors(tmp_path):
    alike = write(tmp_path, "alike.jsonl", *classed(good=3))
    train = write(tmp_path, "train.jsonl", *classed(good=3, bad=3))
    said = "all 3 rows have the class 'good': nothing to tell apart"
    assert texts(check_data(alike, format="labelled").warnings) == [said], "alone it may be for testing"
    assert said in texts(check_data(alike, heldout=train, format="labelled").errors)
    odd = [{"text": f"hm {n}", "label": "odd"} for n in range(40)]
    heldout = write(tmp_path, "heldout.jsonl", {"text": "well", "label": "bad"}, *odd, {"text": "so", "label": "else"})
    many, one = check_data(train, heldout=heldout, format="labelled").errors
    assert str(many) == f"{heldout}:2: 40 rows for testing of the class 'odd', which training lacks"
    assert str(one) == f"{heldout}:42: a row for testing of the class 'else', which training lacks"


def test_with_a_model_rows_with_a_class_have_no_answers_either(tmp_path, model):
    train = write(tmp_path, "train.jsonl", *classed(good=3, bad=3))
    (found,) = check_data(train, format="labelled", model=model).files
    assert (found.lengths.unit, found.answers) == ("tokens", None)


def test_texts_with_a_class_are_counted_as_a_classifier_reads_them(tmp_path, capsys):
    base = str(tinyclassifier.write_base(tmp_path / "base"))  # its tokenizer has no chat template
    rows = [{"text": "the film was " + "very " * n + word, "label": word} for n in (1, 9) for word in ("good", "bad")]
    file = write(
        tmp_path, "train.jsonl", *rows, {"text": "[MASK] great", "label": "good"}, {"text": "a", "label": "bad"}
    )
    model = load_model(base, tmp_path, max_tokens=10)
    (found,) = check_data(file, format="labelled", model=model).files
    assert (found.usable, found.too_long, found.lengths.unit, found.lengths.maximum) == (6, 2, "tokens", 15)
    assert main(["data", "check", file, "--model", base]) == 0
    output = tmp_path / "recipe.yaml"
    assert main(["init", file, "--model", base, "--output", str(output)]) == 0
    assert "estimated" not in output.read_text()


def test_images_are_counted_by_class_and_have_no_length(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 5)
    picture(9, size=(90, 20)).save(folder / "red" / "wide.png")
    (found,) = check_data(str(folder), format="images").files
    assert (found.classes, found.lengths, found.answers) == ({"blue": 3, "red": 3}, None, None)
    assert (found.sides.unit, found.sides.minimum, found.sides.maximum) == ("pixels", 40, 90)


def test_classes_that_look_like_slips_are_warned_of(tmp_path):
    file = write(tmp_path, "train.jsonl", *classed(good=3, Good=2, bad=3, odd=1))
    alike, rare = texts(check_data(file, format="labelled").warnings)
    assert alike == "the classes 'Good' and 'good' differ in capitals or blanks only, and are two classes"
    assert rare == "one row only of the class 'odd': it is either trained on or asked after, never both"
    heldout = write(tmp_path, "heldout.jsonl", {"text": "quite new", "label": "odd"})
    assert len(check_data(file, heldout=heldout, format="labelled").warnings) == 1, "others ask after it"
    assert len(check_data(file, validation=heldout, format="labelled").warnings) == 2, "rows to ask are still taken out"


def test_a_column_that_no_row_has_is_one_error(tmp_path):
    file = write(tmp_path, "train.jsonl", *classed(good=3, bad=3))
    for columns, said in (
        (
            {"text": "text", "label": "lable"},
            "no row has the column 'lable' (there are: 'text', 'label'); did you mean",
        ),
        (
            {"text": "body", "label": "label"},
            "no row has the column 'body' (there are: 'text', 'label'); name that of each row's text: --text-col",
        ),
    ):
        (only,) = texts(check_data(file, format="labelled", columns=columns).errors)
        assert only.startswith(said)
    late = write(tmp_path, "late.jsonl", *({"text": f"t {n}"} for n in range(150)), {"text": "x", "label": "a"})
    assert len(check_data(late, format="labelled").errors) == 150, "one row has it"


def test_the_hint_of_rows_with_a_class_reads_them_alike(tmp_path):
    file = write(tmp_path, "train.jsonl", {"message": "x", "team": "a"})
    with pytest.raises(DataError) as caught:
        load_rows(file, "labelled", {"text": "message", "label": "teams"}).raise_on_problems()
    assert "--format labelled --text-column message --label-column teams" in caught.value.hint


def test_leaks_are_errors_unless_only_near(tmp_path):
    train = write(tmp_path, "train.jsonl", ask("one"), ask("two"), ask("three"))
    heldout = write(tmp_path, "heldout.jsonl", ask("one"), ask("two", "no"), ask("THREE"), ask("four"))
    report = check_data(train, heldout=heldout)
    assert texts(report.errors) == [
        f"is also in training: {train}:1",
        f"has a prompt that is also in training: {train}:2",
    ]
    assert texts(report.warnings) == [f"has a prompt that is in training but for case or spacing: {train}:3"]
    assert [file.source for file in report.files] == [train, heldout]


def test_tokens_are_counted_with_the_template_and_against_the_limit(tmp_path, model):
    file = write(tmp_path, "a.jsonl", ask("turn on"), ask("turn " * 100))
    report = check_data(file, model=model)
    (found,) = report.files
    assert (found.lengths.unit, found.limit, found.too_long) == ("tokens", 100, 1)
    (warning,) = report.warnings
    assert warning.where == f"{file}:2"
    assert warning.message == f"is {found.lengths.maximum} tokens long; the limit is 100"
    assert found.answers.maximum == len(model.tokenizer("ok")["input_ids"]) + 1  # and its end token


def test_what_the_template_refuses_is_an_error(tmp_path, make_tokenizer):
    gemma = Model("gemma", make_tokenizer("gemma"), context=512, limit=512, parameters=1, system="Be brief")
    file = write(tmp_path, "a.jsonl", ask("one"))
    report = check_data(file, model=gemma)
    (error,) = report.errors
    assert "System role not supported" in error.message
    assert report.files[0].usable == 0


def test_conversations_that_become_several_rows_are_counted(tmp_path, make_tokenizer):
    qwen = Model("qwen", make_tokenizer("qwen3"), context=512, limit=512, parameters=1)
    two = {"messages": ask("one")["messages"] + ask("two")["messages"]}
    (found,) = check_data(write(tmp_path, "a.jsonl", two, ask("x")), model=qwen).files
    assert (found.split, found.turns) == (1, {1: 1, 2: 1})


def test_control_tokens_in_the_data_are_found(tmp_path, model):
    file = write(tmp_path, "a.jsonl", ask("say </s> please"), ask("x"))
    (warning,) = check_data(file, model=model).warnings
    assert (warning.where, warning.message) == (f"{file}:1", "contains the control token </s>")


class TestLengths:
    def test_bins_hold_every_row_once_between_round_bounds(self):
        found = measure([42, 98, 60, 61, 65, 65], "tokens")
        assert found.bins[0][:2] == (40, 45)
        assert sum(count for _, _, count in found.bins) == 6
        assert [end for _, end, _ in found.bins[:-1]] == [start for start, _, _ in found.bins[1:]]

    @pytest.mark.parametrize("lengths", [[0], [7], [1, 1000], [3, 10**6], list(range(500))])
    def test_there_are_few_bins_at_any_scale(self, lengths):
        found = measure(lengths, "tokens")
        assert 1 <= len(found.bins) <= 13
        assert found.bins[0][0] <= min(lengths)
        assert found.bins[-1][1] > max(lengths)

    def test_quantiles(self):
        found = measure(list(range(1, 101)), "tokens")
        assert (found.minimum, found.median, found.p90, found.p99, found.maximum) == (1, 50, 90, 99, 100)

    def test_no_rows(self):
        assert measure([], "tokens") is None


class TestCommand:
    def test_good_rows_exit_0_and_print_a_histogram(self, tmp_path, capsys):
        assert main(["data", "check", write(tmp_path, "a.jsonl", ask("one"), ask("two"))]) == 0
        out, err = capsys.readouterr()
        assert "messages (keys 'messages' in 2 of 2 rows)" in out
        assert "length in characters; give --model to count tokens" in out
        assert "0 errors, 0 warnings" in out
        assert err == ""

    def test_errors_exit_4_and_are_all_named(self, tmp_path, capsys):
        file = write(tmp_path, "a.jsonl", ask("one"), ask("two", ""), {"text": "x"})
        assert main(["data", "check", file]) == 4
        out, err = capsys.readouterr()
        assert "2 errors" in out
        assert f"{file}:2: message 2 (assistant) is an empty answer" in err
        assert f"{file}:3: is laid out as text" in err

    def test_warnings_exit_0(self, tmp_path, capsys):
        assert main(["data", "check", write(tmp_path, "a.jsonl", ask("one"), ask("one"))]) == 0
        assert "warning: " in capsys.readouterr().out

    def test_json_is_whole_even_when_the_check_fails(self, tmp_path, capsys):
        file = write(tmp_path, "a.jsonl", ask("one"), ask("two", ""))
        assert main(["data", "check", file, "--json", "--heldout", file]) == 4
        report = json.loads(capsys.readouterr().out)
        assert (report["schema_version"], report["ok"]) == (1, False)
        assert report["leaks"] == [{"heldout": f"{file}:1", "train": f"{file}:1", "kind": "row"}]
        assert report["problems"][0] == {
            "where": f"{file}:2",
            "message": "message 2 (assistant) is an empty answer",
            "severity": "error",
        }

    def test_an_unreadable_file_has_json_too(self, tmp_path, capsys):
        assert main(["data", "check", write(tmp_path, "a.jsonl"), "--json"]) == 4
        assert json.loads(capsys.readouterr().out)["problems"][0]["message"] == "holds no rows"

    def test_many_warnings_are_cut_short(self, tmp_path, capsys):
        main(["data", "check", write(tmp_path, "a.jsonl", *[ask("one")] * 50)])
        out = capsys.readouterr().out
        assert out.count("repeats") == 20
        assert "30 more; --json prints all" in out

    def test_limits_need_a_model(self, tmp_path, capsys):
        assert main(["data", "check", write(tmp_path, "a.jsonl", ask("x")), "--max-tokens", "5"]) == 2
        assert "need --model" in capsys.readouterr().err

    def test_a_model_folder_counts_tokens(self, tmp_path, capsys, tiny_base):
        file = write(tmp_path, "a.jsonl", ask("turn on"), ask("turn " * 100))
        assert main(["data", "check", file, "--model", str(tiny_base), "--max-tokens", "60"]) == 0
        out = capsys.readouterr().out
        assert "1 over 60 tokens" in out
        assert "limit: 60" in out


def test_checking_characters_loads_nothing_heavy(tmp_path):
    file = write(tmp_path, "a.jsonl", ask("one"))
    program = (
        "import sys; from edgetune.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'pandas'} & set(sys.modules); "
        "sys.exit(code or len(heavy))"
    )
    for command in (["data", "check", file], ["init", file, "--output", str(tmp_path / "r.yaml")]):
        done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
