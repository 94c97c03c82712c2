"""A story for people: the whole of it, one line per gate and term, or the brief form of the demo."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from flows.flags import SCORES_OF
from flows.screen import OUT
from flows.words import moment, number, pairs, plain, signed, span, verdict

Story = dict[str, Any]
LOUDEST = 5  # terms of a score that the brief form names


def print_story(story: Story) -> None:
    """A bar, what was done and refused on it, and every number with its terms."""
    OUT.print(f"\n[bold]{_lane(story)}[/bold]  {span(story)}  state {_upper(story['state'])}  run {story['run_id']}")
    for told in story.get("decisions", ()):
        _print_decision(story, told)
    for told in story.get("refusals", ()):
        _print_refusal(told)
    for told in story.get("flags", ()):
        OUT.print(f"\n[bold]flag {told['flag']}[/bold] {'raised' if told['raised'] else 'not raised'}")
        _print_gates(told["gates"])
    numbers = story.get("numbers", {})
    if "a" in numbers or "e" in numbers:
        _print_posture(story, numbers)
    for name, told in numbers.items():
        if name not in ("a", "e"):
            _print_score(name, told)
    for kind, told in story.get("sizes", {}).items():
        OUT.print(f"\n[bold]size of {kind}[/bold] {told['formula']}  {verdict(told['exact'], 'multiplies exactly')}")
    _print_inputs(story)


def print_brief(place: int, story: Story) -> None:
    """A decision or a refusal in about a dozen lines: what, how much, why, and the sums behind it."""
    for told in story["decisions"]:
        OUT.print(
            f"\n[bold]{place}. {_lane(story)}  {told['kind'].upper()}[/bold]  {_amount(story, told)}  {span(story)}"
        )
        OUT.print(f"   size     {told['size']['formula']}  {verdict(told['size']['exact'], 'multiplies exactly')}")
        OUT.print(f"   posture  {told['sentence']}")
        _print_brief_posture(story)
        _print_brief_flag(story, told["flag"])
    for told in story["refusals"]:
        OUT.print(f"\n[bold]{place}. {_lane(story)}  why not {told['kind'].upper()}?[/bold]  {span(story)}")
        OUT.print(f"   gate     {_stopped(told)}")
        _print_brief_flag(story, told["flag"]["flag"] if told["flag"] else "")
        _print_brief_posture(story)


def _lane(story: Story) -> str:
    return f"{story['venue']}:{story['token']} {story['timeframe']}"


def _upper(state: str | None) -> str:
    return state.upper() if state else "none yet"


def _amount(story: Story, told: Story) -> str:
    where = f"at {number(told['price'])} in {_upper(told['state'])}"
    if told["usd"] is not None:
        return f"buy {told['usd']:.2f} USD {where}"
    return f"sell {plain(told['fraction'])} of the {story['token']} held, {where}"


def _stopped(told: Story) -> str:
    """The gate that stopped a refusal and the smallest change that would have let it pass."""
    if told["gate"] == "precedence":
        return f"precedence: {told['operands']['sent'].lower()} was sent on this bar"
    if told["gate"] == "operator_halt":
        said = told["operands"]
        return f"operator_halt: {escape(said['author'])} halted buys at {moment(said['since'])}, not resumed yet"
    short = f" by {abs(told['margin']):.6g}" if told["margin"] is not None else ""
    return f"{told['gate']} failed{short}: {pairs(told['operands'])}"


# ------------------------------------------------------------------------------------------------- the whole story


def _print_decision(story: Story, told: Story) -> None:
    OUT.print(
        f"\n[bold]{told['kind'].upper()}[/bold] {_amount(story, told)}  {told['category']}, {told['pattern_key']}"
    )
    OUT.print(f"  size     {told['size']['formula']}  {verdict(told['size']['exact'], 'multiplies exactly')}")
    OUT.print(f"  modes    A {number(told['a'])} {told['mode_a']}, E {number(told['e'])} {told['mode_e']}")
    OUT.print(f"  posture  {told['sentence']}")
    OUT.print(f"  pool     {pairs(told['pool'])}" + (f", cancels {told['cancels']}" if told["cancels"] else ""))
    for fill in story["fills"]:
        if fill["kind"] == told["kind"]:
            qty, price, fee = (plain(fill[name]) for name in ("qty", "price", "fee"))
            OUT.print(f"  filled   {qty} at {price}, {plain(fill['usd'])} USD, fee {fee} inside")
    _print_gates(told["gates"])


def _print_refusal(told: Story) -> None:
    OUT.print(f"\n[bold]REFUSED {told['kind']}[/bold]: {_stopped(told)}")


def _print_gates(gates: list[Story]) -> None:
    for gate in gates:
        mark = "[green]ok    [/green]" if gate["ok"] else "[red]failed[/red]"
        margin = "" if gate["margin"] is None else f"  margin {signed(gate['margin'])}"
        OUT.print(f"  {mark}   {gate['gate']:<16} {pairs(gate['operands'])}{margin}")


def _print_posture(story: Story, numbers: dict[str, Story]) -> None:
    """A and E side by side; terms are in the order in which they sum."""
    shown = {name: numbers[name] for name in ("a", "e") if name in numbers}
    exact = all(told["exact"] for told in shown.values())
    values = ", ".join(f"{name.upper()} = {told['value']!r}" for name, told in shown.items())
    OUT.print(f"\n[bold]{values}[/bold]  {verdict(exact)}")
    heads = "".join(f"{name.upper():>11}{'sum':>11}" for name in shown)
    OUT.print(f"  {'term':<24}{heads}   driver's bar, since, weights")
    for terms in zip(*(told["terms"] for told in shown.values()), strict=True):
        figures = "".join(f"{term['value'] + 0.0:>+11.6f}{term['sum'] + 0.0:>11.6f}" for term in terms)
        OUT.print(f"  {terms[0]['name']:<24}{figures}   {_source(terms[0])}")


def _source(term: Story) -> str:
    if "series" not in term:
        return ""
    weights = " x ".join(number(float(value)) for value in term["weights"].values())
    silent = ", suppressed by an emergency" if term["suppressed"] else ""
    times = f"{moment(term['bar'])} known {moment(term['known_at'])[11:]}, since {moment(term['since'])}"
    return f"{term['series']} {times}, {weights}{silent}"


def _print_score(name: str, told: Story) -> None:
    OUT.print(f"\n[bold]{name} = {told['value']!r}[/bold]  {verdict(told['exact'])}")
    for term in told["terms"]:
        OUT.print(f"  {term['name']:<16}{term['value'] + 0.0:>+12.6f}{term['sum']:>12.6f}")


def _print_inputs(story: Story) -> None:
    inputs = story.get("inputs", {})
    named = {name: value for name, value in inputs.items() if name not in ("bar", "known_at", "levels")}
    if named:
        OUT.print(
            f"\n[bold]inputs[/bold] of bar {moment(inputs['bar'])}, known {moment(inputs['known_at'])}: {pairs(named)}"
        )
    levels = inputs.get("levels") or story.get("levels")
    if levels:
        as_of = levels["as_of_bar"]
        OUT.print(
            f"[bold]levels[/bold] as of bar {moment(as_of)}: nearest {number(levels['nearest_level'])}, "
            f"{number(levels['distance'])} away"
        )


# -------------------------------------------------------------------------------------------------- the brief form


def _print_brief_posture(story: Story) -> None:
    for name in ("a", "e"):
        told = story["numbers"].get(name)
        if told is None:
            continue
        terms = f"{' '.join(_brief_terms(told))} = {number(told['value'])} {story['posture']['mode_' + name]}"
        OUT.print(f"   {name.upper()}        {terms}  {verdict(told['exact'])}")
    for term in story["numbers"].get("a", {"terms": []})["terms"]:
        if "series" in term and not term["suppressed"]:
            bar = f"its bar {moment(term['bar'])} known {moment(term['known_at'])[11:]}"
            OUT.print(f"              {term['name']} holds since {moment(term['since'])}, {bar}")


def _brief_terms(told: Story) -> Iterator[str]:
    for term in told["terms"]:
        if term["name"] == "base":
            yield f"base {number(term['value'])}"
        elif not term.get("suppressed"):
            yield f"{signed(term['value'])} {term['name']}"


def _print_brief_flag(story: Story, name: str) -> None:
    flag = next((told for told in story["flags"] if told["flag"] == name), None)
    if flag is None:
        return
    gates = "; ".join(f"{gate['gate']} {_brief_gate(gate)}" for gate in flag["gates"])
    OUT.print(f"   flag     {name} {'raised' if flag['raised'] else 'not raised'}: {gates}")
    for score in SCORES_OF.get(name, ()):
        told = story["numbers"][score]
        loud = sorted((term for term in told["terms"] if term["value"]), key=lambda term: -abs(term["value"]))
        rest = f" and {len(loud) - LOUDEST} smaller" if len(loud) > LOUDEST else ""
        terms = " ".join(f"{signed(term['value'])} {term['name']}" for term in loud[:LOUDEST])
        OUT.print(f"   {score:<8} = {terms}{rest} = {number(told['value'])}  {verdict(told['exact'])}")


def _brief_gate(gate: Story) -> str:
    if gate["margin"] is None:
        return f"{'ok' if gate['ok'] else 'failed'} ({pairs(gate['operands'])})"
    return ("ok by " if gate["ok"] else "failed by ") + f"{abs(gate['margin']):.4g}"
