"""What a pack promises: its ledger, its time contract, what the chip makes of it, every error."""

from __future__ import annotations

from bms.core import plausible, rules
from bms.drivers import ina228

from solidbms import ledger, packc
from solidbms.packc import Rule
from solidbms.schema import PackFile, shown
from solidbms.world import DEAD_MAN_MS

UNIT_WORDS = {"_v": "V", "_a": "A", "_c": "degC", "_s": "s", "_count": ""}


def explain(name: str) -> tuple[str, bool]:
    """Return the text on a pack and whether it has no errors; BadInput for unreadable files."""
    file, cell, path = packc.load(name)
    compiled, errors = packc.examine(file, cell)
    lines = [
        f"{file.name}: {file.about or shown(path)}",
        f"  use {file.use}, {file.cells_in_series} x {cell.name} ({cell.chemistry}, "
        f"{cell.capacity.ah:g} Ah), front end {file.front_end.chip}",
        f"  tick {file.tick_ms} ms with a gate closed, {file.idle_tick_ms} ms with all open",
    ]
    if not errors:
        lines.append(f"  compiled: {len(compiled.blob)} bytes")
    lines += ["", "Ledger"]
    for part in ledger.missing(file):
        lines.append(f"  lacks {part.name}: stands in: {part.stands_in}; remains: {part.cost}")
    for part in ledger.conditional(file):
        lines.append(f"  has {part.name}, which rests on {part.rests_on}")
    for rule, highest, why in ledger.tightened(file, cell.limits.model_dump()):
        lines.append(f"  tightened: rules.{rule} at most {highest:g} ({why}); attended use only")
    lines += [
        "  a power cut loses: SoC since boot (nothing is saved yet); the next start reads rested "
        "voltage; a reset forgets trips too: gates are open then, but `close` is all it takes",
        "",
        "Time contract: worst case from the crossing to the gate = signal age + delay + shed + "
        "2 ticks",
        f"  {'rule':<13}{'level':<6}{'path':<10}{'trips':<22}{'releases':<14}{'age':>6}"
        f"{'delay':>8}{'shed':>8}{'promise':>9}  recovery",
    ]
    lines += [_row(rule, file) for rule in compiled.rules]
    lines += [
        "  times in ms; with every gate open a tick is longer and nothing flows",
        "",
        "What the front end makes of it",
    ]
    ua = packc.ua_per_code(file)
    if ua is not None:
        full = ina228.SHUNT_FULL_UV * 1e-6 / file.front_end.shunt_ohm
        lines.append(
            f"  current: {float(ua):g} uA a code, +-{full:g} A; voltage: 195.3125 uV a code; "
            f"oldest sample {ina228.AGE_MS} ms"
        )
        lines += [f"  {text}" for text in _quantised(compiled.rules, float(ua))]
    lines += _alerts(file)
    if errors:
        lines += ["", f"Does not arm: {len(errors)} error{'s' * (len(errors) > 1)}"]
        lines += [f"  {shown(path)}: {error}" for error in errors]
    return "\n".join(lines), not errors


def _row(rule: Rule, file: PackFile) -> str:
    row = rule.row
    tick_ms = file.tick_ms
    suffix, factor = packc.unit_of(row)
    unit = UNIT_WORDS[suffix]
    side = ">" if row[rules.SIDE] > 0 else "<"
    name = rule.signal.rsplit("_", 1)[0]
    trips = f"{name} {side} {rule.limit / factor:g} {unit}".rstrip()
    releases = f"{rule.release / factor:g} {unit}".rstrip()
    recovery = rules.RECOVERIES[row[rules.RECOVERY]]
    if row[rules.RECOVERY] == rules.LOAD_GONE and not ina228.SEES_LOAD:
        recovery += " (this front end cannot see it: by hand)"
    if rule.signal == "overrun_ms" and file.parts.dead_man and rule.limit >= DEAD_MAN_MS - tick_ms:
        recovery += " (with a gate closed the dead-man is quicker: gate_dropped, without notice)"
    when = "" if row[rules.WHEN] == rules.ALWAYS else f", watched: {rules.WHENS[row[rules.WHEN]]}"
    return (
        f"  {rule.id:<13}{rules.LEVELS[row[rules.LEVEL]]:<6}{rules.PATHS[row[rules.PATH]]:<10}"
        f"{trips:<22}{releases:<14}{rule.age_ms:>6}{rule.delay_ms:>8}{rule.shed_ms:>8}"
        f"{rule.promise_ms(tick_ms):>9}  {recovery}{when}"
    )


def _alerts(file: PackFile) -> list[str]:
    """Return the limits of the chip's alert pin, which drops the gates, as it applies them."""
    asked = {
        "charge": (file.front_end.alert_charge_a, "A of charge"),
        "discharge": (file.front_end.alert_discharge_a, "A of discharge"),
        "over": (file.front_end.alert_over_v, "V"),
    }
    return [
        f"  alert pin, no processor needed: above {applied:.6g} {unit} (asked for {value:g}); the "
        f"gates drop within {ina228.AGE_MS} ms of it"
        for name, (_, applied) in packc.alert_codes(file).items()
        for value, unit in [asked[name]]
        if value is not None
    ]


def _quantised(pack_rules: list[Rule], ua: float) -> list[str]:
    """Return, for limits between two codes, the first reading that is past them."""
    steps = {plausible.CELL_MAX_UV: 195.3125, plausible.CELL_MIN_UV: 195.3125,
             plausible.CHARGE_UA: ua, plausible.DISCHARGE_UA: ua}  # fmt: skip
    lines = []
    for rule in pack_rules:
        step = steps.get(rule.row[rules.SIGNAL])
        if step is None:
            continue
        side = rule.row[rules.SIDE]
        code = int(rule.limit // step) + (1 if side > 0 else 0)
        while side < 0 and int(code * step) >= rule.limit:
            code -= 1
        suffix, factor = packc.unit_of(rule.row)
        first = code * step / factor
        lines.append(
            f"{rule.id}: limit {rule.limit / factor:g}, first reading past it {first:.6g} "
            f"{UNIT_WORDS[suffix]}"
        )
    return lines
