"""Bad data, recipes and models: what a person gives. Each case: the command, the exit code, words of the message."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace

from badworld import Case, Command, Spoil, World, cut, edit_json, edit_weights, remove, write

USER = {"role": "user", "content": "on"}
ANSWER = {"role": "assistant", "content": "ok"}
FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")


def check_data(content: str | bytes, name: str = "bad.jsonl") -> Command:
    """``edgetune data check`` on a file with this content."""
    return lambda w: w.cmd("data", "check", w.file(name, content))


def check_row(*messages: object) -> Command:
    """``edgetune data check`` on a conversation of these messages."""
    return lambda w: w.cmd("data", "check", w.rows({"messages": list(messages)}, name="bad.jsonl"))


DATA: dict[str, Case] = {
    "no such file": (lambda w: w.cmd("data", "check", "gone.jsonl"), 4, "no such data file: gone.jsonl"),
    "a folder without data": (lambda w: w.cmd("data", "check", "."), 4, "."),
    "unknown kind of file": (check_data("x", "rows.docx"), 4, "'.docx' files are not supported"),
    "empty file": (check_data(""), 4, "no rows"),
    "blank lines only": (check_data("\n\n\n"), 4, "no rows"),
    "not UTF-8": (check_data(b'{"prompt": "caf\xe9", "completion": "x"}\n'), 4, "is not UTF-8"),
    "UTF-16": (check_data('{"prompt": "a"}'.encode("utf-16")), 4, "is UTF-16"),
    "a line that is not JSON": (check_data("turn it on\n"), 4, "bad.jsonl:1"),
    "a last line cut off": (check_data('{"text": "a"}\n{"tex'), 4, "bad.jsonl:2"),
    "a line that is an array": (check_data("[1, 2]\n"), 4, "is an array"),
    "a line that is null": (check_data("null\n"), 4, "is null"),
    "unknown keys": (check_data('{"foo": 1, "bar": 2}\n'), 4, "no known format has the keys 'foo', 'bar'"),
    "half an emoji": (check_data('{"prompt": "\\ud83d", "completion": "x"}\n'), 4, "half an emoji"),
    "a NUL character": (check_data('{"prompt": "a\\u0000b", "completion": "x"}\n'), 4, "NUL"),
    "unknown role": (check_row({"role": "bot", "content": "x"}, ANSWER), 4, "has the role 'bot'"),
    "no answer": (check_row(USER), 4, "has no assistant message"),
    "an empty answer": (check_row(USER, {"role": "assistant", "content": ""}), 4, "empty answer"),
    "content that is a number": (check_row({"role": "user", "content": 3}, ANSWER), 4, "not text"),
    "CSV without a known column": (check_data("a,b\n1,2\n", "bad.csv"), 4, "no known format"),
    "CSV with a header only": (check_data("prompt,completion\n", "bad.csv"), 4, "no rows"),
    "Parquet that is not": (check_data(b"PAR1 nonsense", "bad.parquet"), 4, "bad.parquet"),
    "JSON that is one number": (check_data("7", "bad.json"), 4, "bad.json"),
    "JSON cut off": (check_data('[{"prompt": "a", "comple', "bad.json"), 4, "bad.json"),
    "held-out rows seen in training": (
        lambda w: w.cmd("data", "check", "rows.jsonl", "--heldout", w.rows(name="heldout.jsonl")), 4, "rows.jsonl"),
    "unknown format": (lambda w: w.cmd("data", "check", "rows.jsonl", "--format", "alpacca"), 4, "alpacca"),
    "no permission to read": (
        lambda w: w.forbid("rows.jsonl").cmd("data", "check", "rows.jsonl"), 10, "cannot read rows.jsonl"),
    "an option that needs a model": (lambda w: w.cmd("data", "check", "rows.jsonl", "--system", "x"), 2, "--model"),
    "a model that is not there": (
        lambda w: w.cmd("data", "check", "rows.jsonl", "--model", "./gone"), 5, "no such model"),
    "a metric that the rows do not suit": (
        lambda w: w.cmd("eval", w.run(write("recipe.yaml", "name: a\nmodel: {source: x}\ntask: {metrics: [json]}\n"))),
        4, "do not suit task.metrics"),
    "evaluation on no rows": (lambda w: w.cmd("eval", w.gguf(), "--data", w.file("none.jsonl", "")), 4, "none.jsonl"),
    "evaluation on rows longer than the context": (
        lambda w: w.cmd("eval", w.gguf(), "--data", w.rows({"prompt": "x" * 900, "completion": "y"})),
        4, "1 of 1 rows cannot be evaluated"),
    "a prompt longer than the context": (
        lambda w: w.cmd("chat", w.gguf(), "--prompt", "x" * 900), 4, "does not fit a context of 512 tokens"),
}  # fmt: skip


def check_recipe(*lines: str) -> Command:
    """``edgetune recipe check`` on a sound recipe with these lines."""
    return lambda w: w.cmd("recipe", "check", w.recipe(*lines))


RECIPES: dict[str, Case] = {
    "no such recipe": (lambda w: w.cmd("recipe", "check", "gone.yaml"), 3, "no such recipe: gone.yaml"),
    "a folder": (lambda w: w.cmd("recipe", "check", "."), 3, "is a folder"),
    "not UTF-8": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", b"name: caf\xe9")), 3, "not UTF-8"),
    "not YAML": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", "a: [1\nb: 2")), 3, "r.yaml:2"),
    "a tab in YAML": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", "train:\n\tseed: 1")), 3, "r.yaml:2"),
    "empty": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", "")), 3, "holds no recipe"),
    "a list": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", "- a\n- b")), 3, "holds no recipe"),
    "a misspelt key": (check_recipe("train: {learning_rat: 1e-4}"), 3, "did you mean 'train.learning_rate'?"),
    "a missing model": (lambda w: w.cmd("recipe", "check", w.file("r.yaml", "name: a")), 3, "model: required"),
    "a word for a number": (check_recipe("train: {epochs: many}"), 3, "train.epochs"),
    "a value out of range": (check_recipe("method: {rank: 0}"), 3, "method.rank"),
    "a number without end": (check_recipe("train: {epochs: .inf}"), 3, "train.epochs"),
    "a learning rate beyond reason": (check_recipe("train: {learning_rate: 1e38}"), 3, "train.learning_rate"),
    "a pattern that is none": (
        check_recipe("method: {kind: freeze, train_patterns: ['([']}"), 3, "no regular expression"),
    "a choice that is none": (check_recipe("method: {kind: lorra}"), 3, "method.kind"),
    "a section that is a word": (check_recipe("train: fast"), 3, "train"),
    "a section that is empty": (check_recipe("train:"), 3, "train"),
    "freeze without saying what": (check_recipe("method: {kind: freeze}"), 3, "exactly one of train_last_layers"),
    "a name for a path": (check_recipe("name: ../up"), 3, "name"),
    "several faults at once": (check_recipe("name: Bad Name", "train: {seed: -1}", "colour: red"), 3, "3 problems"),
    "no recipe of that name": (lambda w: w.cmd("recipes", "show", "smart-hom"), 3, "no recipe called 'smart-hom'"),
    "run without a recipe of that name": (lambda w: w.cmd("run", "nothing"), 3, "no recipe called 'nothing'"),
    "train without a recipe": (lambda w: w.cmd("train"), 2, "give a RECIPE"),
    "a flag that is no number": (lambda w: w.cmd("train", w.recipe(), "--learning-rate", "fast"), 2, "--learning-rate"),
    "a variable that is no number": (
        lambda w: w.setenv("EDGETUNE_RANK", "big").cmd("train", w.recipe()), 2, "EDGETUNE_RANK"),
    "a flag out of range": (lambda w: w.cmd("train", w.recipe(), "--epochs", "-1"), 2, "--epochs"),
    "an unknown flag": (lambda w: w.cmd("train", w.recipe(), "--learnin-rate", "1"), 2, "--learnin-rate"),
    "an unknown command": (lambda w: w.cmd("trian"), 2, "trian"),
    "resume with a recipe": (lambda w: w.cmd("train", w.recipe(), "--resume", "run"), 2, "--resume takes its recipe"),
    "init over a recipe": (lambda w: w.cmd("init", "rows.jsonl", "--output", w.recipe()), 3, "recipe.yaml"),
    "init on no rows": (lambda w: w.cmd("init", w.file("none.jsonl", "")), 4, "none.jsonl"),
    "init on a read-only disk": (
        lambda w: w.fail("tempfile.mkdtemp", READ_ONLY).cmd("init", "rows.jsonl"), 10, "Read-only file system"),
}  # fmt: skip


def use(spoil: Spoil) -> Command:
    """``edgetune eval`` on a model folder spoilt so."""
    return lambda w: w.cmd("eval", w.model(spoil), "--data", "rows.jsonl")


def source(text: str) -> Command:
    """``edgetune eval`` on a model named so."""
    return lambda w: w.cmd("eval", text, "--data", "rows.jsonl")


def hub(error: str) -> Command:
    """``edgetune eval`` on a hub model when the hub answers with this error."""

    def command(w: World) -> list[str]:
        from huggingface_hub import errors

        response = SimpleNamespace(headers={}, request=None)
        kind = getattr(errors, error)
        try:
            raised = kind("gone", response=response)
        except TypeError:  # not every kind has one
            raised = kind("gone")
        return w.fail("huggingface_hub.snapshot_download", raised).cmd("eval", "owner/name", "--data", "rows.jsonl")

    return command


MODELS: dict[str, Case] = {
    "nothing there": (source("./gone"), 5, "no such model"),
    "nothing there, exported": (lambda w: w.cmd("export", "./gone"), 5, "no such model"),
    "no config.json": (use(remove("config.json")), 5, "no config.json"),
    "config.json cut off": (use(cut("config.json")), 5, "config.json"),
    "config.json is a list": (use(write("config.json", "[]")), 5, "holds no JSON object"),
    "unknown model type": (use(edit_json("config.json", model_type="nonesuch")), 5, "model configuration"),
    "no weights": (use(remove("model.safetensors")), 5, "no weights"),
    "weights cut off": (use(cut("model.safetensors")), 5, "model.safetensors"),
    "weights that are a web page": (use(write("model.safetensors", "<html>404</html>")), 5, "model.safetensors"),
    "weights of no bytes": (use(write("model.safetensors", "")), 5, "model.safetensors"),
    "pickled weights": (
        use(lambda p: (p / "model.safetensors").rename(p / "pytorch_model.bin")), 5, "are pickled"),
    "a pickle as the model": (lambda w: w.cmd("export", w.file("m.bin", "x")), 5, "neither a model folder nor a .gguf"),
    "a tensor missing": (
        use(edit_weights(lambda t: t.pop("model.norm.weight"))), 5, "model.norm.weight: missing"),
    "a tensor of another shape": (use(edit_json("config.json", intermediate_size=96)), 5, "by config.json"),
    "a shard missing": (
        use(write("model.safetensors.index.json", json.dumps({"weight_map": {"a": "model-2.safetensors"}}))),
        5, "weight files are missing"),
    "code that comes with the model": (
        use(edit_json("config.json", auto_map={"AutoModel": "evil.Model"})), 5, "asks to run Python code"),
    "no tokenizer": (use(remove("tokenizer.json")), 5, "tokenizer"),
    "tokenizer.json cut off": (use(cut("tokenizer.json")), 5, "tokenizer"),
    "a chat template that is not Jinja": (use(write("chat_template.jinja", "{% for %}")), 5, "template"),
    "a package that is not installed": (source("pkg:no_such_package/x.gguf"), 5, "is not installed"),
    "a package without that file": (source("pkg:rich/x.gguf"), 5, "has no x.gguf"),
    "a package source without a file": (source("pkg:rich"), 5, "cannot read model.source"),
    "a hub model that is not there": (hub("RepositoryNotFoundError"), 5, "no model 'owner/name' on the hub"),
    "a gated hub model": (hub("GatedRepoError"), 5, "is gated"),
    "no network": (hub("LocalEntryNotFoundError"), 5, "the hub cannot be reached"),
    "a download that breaks off": (hub("HfHubHTTPError"), 5, "broke off"),
    "a connection lost in a download": (
        lambda w: w.fail("huggingface_hub.snapshot_download", ConnectionResetError(104, "Connection reset by peer"))
        .cmd("eval", "owner/name", "--data", "rows.jsonl"), 5, "broke off"),
    "a disk full in a download": (
        lambda w: w.fail("huggingface_hub.snapshot_download", FULL).cmd("eval", "owner/name", "--data", "rows.jsonl"),
        10, "disk full"),
    "a model whose loss is not a number": (
        use(edit_weights(lambda t: t["model.norm.weight"].fill_(float("nan")))), 5, "not a finite number"),
}  # fmt: skip
