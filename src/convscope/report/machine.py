"""The part of a report on the machine: how the run was executed there, why so, and in how many sittings."""

from __future__ import annotations

from typing import Any

from convscope.report import markup
from convscope.report.material import Material, changes_of, plan_of
from convscope.report.wording import NOT_NOTED, UNKNOWN, plural
from convscope.train import Plan

PLANNED = ("device", "device_name", "precision", "memory_format", "threads", "compiled", "deterministic")


def machine(material: Material) -> str:
    """The whole part."""
    plan = material.plan
    where = {} if plan is None else {name: getattr(plan, name) for name in PLANNED}
    cards = []
    for title, values in (
        ("Where it ran", {**where, **material.about("hardware")}),
        ("Versions", material.about("versions")),
    ):
        noted = [(name.replace("_", " "), _word(value), "") for name, value in values.items()]
        cards.append(markup.facts(title, noted or [("environment.json", NOT_NOTED, "")]))
    lead = "Which of the ways to execute the same steps was taken, and on what."
    planned = "" if plan is None else _planned(plan)
    return markup.section("machine", "Machine and plan", lead, planned, _sittings(material), markup.grid(*cards))


def _word(value: Any) -> str:
    return (
        ("yes" if value else "no") if isinstance(value, bool) else str(value).replace("channels_last", "channels last")
    )


def _planned(plan: Plan) -> str:
    """The plan in a line, why it is that, and what was tried."""
    tried = markup.details("What was tried", _trials(plan)) if plan.trials else ""
    why = markup.paragraph(f"Why: {plan.reason}.", kind="fine") if plan.reason else ""
    said = markup.paragraph(str(plan), kind="plan")
    return f'<div class="card planned">\n<h3>The plan</h3>\n{said}\n{why}\n{tried}\n</div>'


def _trials(plan: Plan) -> str:
    """Every way that was considered, with its time and its distance from float32."""

    def number(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.2g}"

    agrees = {None: UNKNOWN, True: "yes", False: "no"}
    rows = [
        [
            f"{trial.what} (chosen)" if trial.what == plan.words else trial.what,
            UNKNOWN if trial.seconds is None else f"{1000 * trial.seconds:,.3g} ms",
            number(trial.loss_error),
            number(trial.gradient_error),
            agrees[trial.agrees],
            trial.note,
        ]
        for trial in plan.trials
    ]
    headers = ["way", "a step", "loss off by", "gradient off by", "agrees", "note"]
    if not any(trial.note for trial in plan.trials):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return markup.table("A step, and how far it is from float32", headers, rows)


def _sittings(material: Material) -> str:
    """What was noted each time that the training went on; empty where it never stopped."""
    later = material.sittings[1:]
    if not later:
        return ""
    times = {1: "once", 2: "twice"}.get(len(later), f"{len(later):,} times")
    rows = []
    for number, sitting in enumerate(material.sittings, 1):
        plan = plan_of(sitting)
        began = str(sitting.get("started") or NOT_NOTED).replace("T", " ")
        words = [NOT_NOTED, NOT_NOTED] if plan is None else [str(plan), plan.reason]
        changed = UNKNOWN if number == 1 else "; ".join(changes_of(sitting)) or "nothing"
        rows.append([str(number), began, *words, changed])
    table = markup.table(
        f"The training stopped and went on {times}: {plural(len(rows), 'sitting')}",
        ["sitting", "began", "plan", "why", "changed by --force"],
        rows,
    )
    return f'<div class="card wordy">\n{table}\n</div>'
