"""The results in Spanish, the language of the course that asks these questions."""

from __future__ import annotations

from edgetune.methods import floor
from edgetune.methods.choosing import Choice, choose
from edgetune.methods.planning import REFERENCE
from edgetune.methods.record import MethodsComparison
from edgetune.methods.summing import Summary, summaries
from edgetune.report.cells import score_number

#: What the table says, in the course's words.
WORDS = {
    "learning rate": "velocidad de aprendizaje",
    "trained (parameters)": "parámetros entrenados",
    "peak memory (MB)": "memoria máxima (MB)",
    "training (s)": "entrenamiento (s)",
    "rows seen": "filas vistas",
    "energy (J)": "energía (J)",
    "left by training (MB)": "lo que deja el entrenamiento (MB)",
    "accuracy": "exactitud",
    "exact_match": "respuestas idénticas",
    "questions (change)": "sobreescritura: preguntas generales (cambio)",
    "plain text (bits a byte more)": "sobreescritura: texto general (bits más por byte)",
    "exported (MB)": "exportado (MB)",
    "exported: accuracy (change)": "exportado: exactitud (cambio)",
    "exported: exact_match (change)": "exportado: respuestas idénticas (cambio)",
    "exported: latency (ms)": "exportado: latencia (ms)",
    "exported: batch_rate (inputs/s)": "exportado: en lotes (entradas/s)",
    "exported: ttft (ms)": "exportado: hasta el primer token (ms)",
    "exported: decode (tokens/s)": "exportado: generación (tokens/s)",
    "exported: peak_rss (MB)": "exportado: memoria (MB)",
    "in 1 GB, trained": "caben en 1 GB, como se entrenan",
    "in 1 GB, exported": "caben en 1 GB, exportados",
    "method": "método",
    "rows": "filas",
    "passes": "pasadas",
    "full": "Fine-Tuning completo",
    "frozen": "capas congeladas",
    "head-only": "solo la cabeza",
    "lora": "LoRA",
    "dora": "DoRA",
    "qlora": "QLoRA",
}


#: Why nothing is chosen.
LACKING = {
    "seeds": "hacen falta al menos tres semillas",
    "methods": "solo se entrenó un método",
    "learning": "ningún método supera a la clase más frecuente",
}


def sentences(found: MethodsComparison) -> list[str]:
    """The choice with its reason, what was compared, and what limits it."""
    budget = f"cada modelo entrenado con {found.budget.examples} filas" if found.budget.examples else "cada uno igual"
    forms = sorted({f"{one.format} {one.precision}" for one in found.devices})
    exported = f" Exportado como {', '.join(forms)}." if forms else ""
    busy = max((one.others_share for one in found.trainings if one.others_share is not None), default=0.0)
    edges = ", ".join(WORDS.get(one.method, one.method) for one in found.rates if one.at_edge)
    return [
        _choice(found),
        (
            f"Receta `{found.name}`, {budget}, {len(found.seeds)} semillas; medias, y entre [ ] intervalos: los de la "
            f"métrica de la tarea y de la sobreescritura, del 95 %, de Student sobre las semillas"
            f"{_others(found)}.{exported}"
        ),
        _floor(found),
        _failed(found),
        _worse(found),
        _apart(found),
        _left_out(found),
        _given_up(found),
        "" if any(one.tried for one in found.rates) else "No se probaron velocidades: vale la proporción conocida.",
        f"Mejor con la última velocidad probada, así que otra podría ser aún mejor: {edges}." if edges else "",
        f"Otros programas usaron hasta el {busy:.0%} del procesador durante el entrenamiento." if busy >= 0.1 else "",
        "Sin energía: aquí no se puede leer." if any(one.energy_reason for one in found.trainings) else "",
    ]


def _others(found: MethodsComparison) -> str:
    """Intervals of what is exported."""
    rounds = max((len(one.rounds) for device in found.devices for one in device.figures), default=0)
    timed = f"; los de tiempos, de la mediana de {rounds} rondas, con menos confianza" if rounds else ""
    shifted = any(one.shift for one in found.devices)
    return timed + ("; el del cambio al exportar, del 95 %, sobre las filas de evaluación" if shifted else "")


def _floor(found: MethodsComparison) -> str:
    """What the most frequent class gets."""
    if found.floor is None:
        return ""
    metric = WORDS.get(found.metric, found.metric).capitalize()
    return f"{metric} de la clase más frecuente para todas las filas: {score_number(found.floor.value)}."


def _given_up(found: MethodsComparison) -> str:
    """Rates that whole trainings did not bear."""
    gone = ", ".join(f"{WORDS.get(one.method, one.method)} ({rate:g})" for one in found.rates for rate in one.given_up)
    said = "Velocidades que la prueba corta prefería y el entrenamiento entero no aguantó"
    return f"{said}: {gone}." if gone else ""


def _failed(found: MethodsComparison) -> str:
    """Single trainings that are no better than that."""
    named = [
        f"{WORDS.get(one.method, one.method)} (semilla {one.seed}, {one.share:.0%} de las filas)"
        for one in floor.failed(found)
    ]
    return f"No aprendieron nada seguro: {', '.join(named)}." if named else ""


def _worse(found: MethodsComparison) -> str:
    """What exporting certainly takes, of the model of the first seed."""
    losses = {one.method: one.lost_on_export.value for one in summaries(found)}
    worse = ", ".join(f"{WORDS.get(method, method)} {lost:.3f}" for method, lost in losses.items() if lost)
    said = "Exportado, el modelo de la primera semilla es peor con seguridad, y al elegir se descuenta"
    return f"{said}: {worse}." if worse else ""


def _left_out(found: MethodsComparison) -> str:
    names = [WORDS.get(one.method, one.method) for one in found.left_out]
    why = ", que no es para clasificadores" if names == [WORDS["qlora"]] and found.floor else ""
    return f"Sin entrenar: {', '.join(names)}{why}." if names else ""


def _apart(found: MethodsComparison) -> str:
    """How adapters are counted that can be kept apart."""
    parted = [one for one in found.devices if one.apart]
    if not parted:
        return ""
    names = ", ".join(WORDS.get(one.method, one.method) for one in parted)
    said = (
        f"Lo que cabe en 1 GB, exportado, se cuenta con los adaptadores de {names} aparte, sobre una sola base; "
        "así no se midieron."
    )
    missing = [f"{WORDS[one.method]} {one.apart.missing:.2g}" for one in parted if one.apart and one.apart.missing]
    if missing:
        said += f" Aparte, el formato solo aproxima algunos; del cambio de un peso falta hasta: {', '.join(missing)}."
    return said


def _choice(found: MethodsComparison) -> str:
    choice = choose(found)
    if choice.method is None:
        return f"**No hay elección**: {LACKING[choice.lacking]}."
    name = WORDS.get(choice.method, choice.method)
    said = (
        f"**Elección: {name}.**" if choice.sure else f"**Elección probable: {name}** (los intervalos no la aseguran)."
    )
    return f"{said} {_reason(found, choice)}"


def _reason(found: MethodsComparison, choice: Choice) -> str:
    """Against full training; of full training, against none."""
    each = {one.method: one for one in summaries(found)}
    own, metric = each[str(choice.method)], WORDS.get(found.metric, found.metric).capitalize()
    if any(one.lost_on_export.value for one in each.values()):
        metric += ", descontado lo que quita exportar"
    other = each.get(REFERENCE)
    if other is None or other is own:
        return f"{metric}: {score_number(own.net)}, entre {len(each)} métodos."
    return (
        f"{metric}: {score_number(own.net)} frente a {score_number(other.net)} de "
        f"{WORDS[REFERENCE]}; {_costs(own, other)}."
    )


def _costs(own: Summary, other: Summary) -> str:
    return (
        f"memoria máxima: {own.peak / 1e6:.0f} MB frente a {other.peak / 1e6:.0f}; lo que deja el entrenamiento: "
        f"{own.result_bytes / 1e6:.1f} MB frente a {other.result_bytes / 1e6:.1f}"
    )
