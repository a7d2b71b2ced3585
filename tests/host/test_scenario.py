"""Scenarios and faults: what they may say, and the project's own."""

import numpy as np
import pytest
from solidbms.campaign.cases import cases
from solidbms.faults import SINGLES, FaultFile
from solidbms.jobs import scenario_job
from solidbms.scenario import load_scenario, read_profile, request_code
from solidbms.schema import HIL, BadInput, check, read_toml

TOP = 'name = "s"\nabout = "x"\npack = "bench_1s"\nduration_s = 10\n'
AMBIENT = "ambient = [[0.0, 20.0], [10.0, 20.0]]\n"
START = "[start]\nsoc = 0.5\ntemp_c = 20.0\n"
EXPECT = '[expect]\nstate = "off"\n'
GOOD = TOP + AMBIENT + START + EXPECT


def refused(text, tmp_path) -> list[str]:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_scenario(str(path))
    return str(caught.value).splitlines()


def test_smallest_scenario(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(GOOD)
    scenario, faults, found = load_scenario(str(path))
    assert (scenario.name, faults, found) == ("s", [], path)


@pytest.mark.parametrize("path", sorted((HIL / "scenarios").glob("*.toml")), ids=lambda p: p.stem)
def test_every_scenario_of_the_project_makes_a_job(path):
    scenario, _, _ = load_scenario(path.stem)
    assert scenario.name == path.stem
    assert scenario_job(path.stem).world.end_ms == round(scenario.duration_s * 1000)


@pytest.mark.parametrize("path", sorted((HIL / "faults").glob("*.toml")), ids=lambda p: p.stem)
def test_every_fault_of_the_project_is_valid(path):
    assert check(FaultFile, read_toml(path), path).name == path.stem


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("by", '["fe_lots"]', "single.by: no rule 'fe_lots'; there are: cell_ov_warn, "),
        ("row", '"clok"', "single.row: one of cell voltage stuck; charger that does not stop; "),
        ("only", '["sleep"]', "single.only: one of rest; load; charge is valid, not 'sleep'"),
    ],
)
def test_what_a_campaign_cannot_expect_of_a_fault(key, value, says, tmp_path):
    keys = {"row": '"clock"'} | {key: value}
    text = 'name = "f"\nabout = "x"\nwhere = "clock"\nkind = "stall"\n[single]\n'
    (tmp_path / "f.toml").write_text(text + "".join(f"{k} = {v}\n" for k, v in keys.items()))
    (line,) = refused(f'{GOOD}[[fault]]\n{SPAN}use = "{tmp_path}/f.toml"\n', tmp_path)
    assert f"f.toml: {says}" in line


def test_every_case_of_a_campaign_is_of_the_list_of_single_faults():
    assert {case.single.row for case in cases().values()} == set(SINGLES)


def test_unknown_scenario_lists_the_known_ones():
    with pytest.raises(BadInput, match=r"nope\.toml: no such file; there are: .*drive_day"):
        load_scenario("nope")


SPAN = "from_s = 1\nuntil_s = 3\n"


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (f'[[load]]\n{SPAN}profile = "nope"\n', "load.0.profile: no profile 'nope'; there are: l"),
        (f'[[load]]\n{SPAN}profile = "../profiles/us06"\n', "load.0.profile: no profile"),
        (f"[[load]]\n{SPAN}", "load.0: one of profile, current_a and ohm is valid"),
        (f'[[load]]\n{SPAN}current_a = 1\nprofile = "us06"\n', "load.0: one of profile"),
        ("[[load]]\nfrom_s = 3\nuntil_s = 1\ncurrent_a = 1.0\n", "load.0: until_s after"),
        (f"[[load]]\n{SPAN}current_ma = 1\n", "load.0.current_ma: unknown key; valid here: "),
        (f"[[load]]\n{SPAN}ohm = 5.0\ncurrent_a = -1.0\n", "load.0: one of profile, c"),
        (f"[[load]]\n{SPAN}ohm = 5.0\nripple_a = 1.0\n", "load.0: ripple_a with ripple_hz"),
        (f"[[load]]\n{SPAN}ohm = 5.0\nripple_hz = 2.0\n", "load.0.ripple_hz: input should be"),
        (f'[[heat]]\n{SPAN}w = 1.0\ncell = 0\nat = "fets"\n', "heat.0: cell or at is valid"),
        (f"[[heat]]\n{SPAN}w = 1.0\ncell = 1\n",
         "heat.0.cell: 0 to 0 is valid for pack bench_1s, not 1"),
        (f"[[short]]\n{SPAN}ohm = 1.0\ncell = 14\n", "short.0.cell: 0 to 0 is valid"),
        (f"[[gap]]\n{SPAN}cell = 2\npct_per_h = 1.0\n", "gap.0.cell: 0 to 0 is valid"),
        (f"[[gap]]\n{SPAN}cell = 0\n", "gap.0.pct_per_h: missing"),
        ("[[cell]]\ncell = 1\n", "cell.0.cell: 0 to 0 is valid"),
        ("[spread]\nr_pct = -1.0\n", "spread.r_pct: input should be greater than"),
        (f'[[fault]]\n{SPAN}use = "nope"\n', "fault.0.use: no fault 'nope'; there are: b"),
        ('[[request]]\nat_s = 5\ndo = "jump"\n', "request.0.do: input should be 'open', 'close'"),
        (f"[[load]]\n{SPAN}current_a = 1e9\n", "load.0.current_a: input should be less than or "),
        ("[[load]]\nfrom_s = 10\nuntil_s = 20\ncurrent_a = 1.0\n",
         "load.0.from_s: below duration_s 10 is valid, not 10"),
        ('[[request]]\nat_s = 50\ndo = "close"\n', "request.0.at_s: below duration_s 10 is"),
        (f'[[charge]]\n{SPAN}cc_a = "2A"\ncv_v = 4.2\n', "charge.0.cc_a: input should be a valid"),
    ],
)
def test_refused_parts(part, says, tmp_path):
    (line,) = refused(TOP + AMBIENT + START + part + EXPECT, tmp_path)
    assert "s.toml: " + says in line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("bench_1s", "nope", "pack: no pack 'nope'; there are: bench_1s"),
        ('"s"', '"../../evil"', "name: letters, digits, _ . - are valid"),
        ("duration_s = 10", "duration_s = 1e12", "duration_s: input should be less than"),
        ("duration_s = 10", "duration_s = nan", "duration_s: input should be a finite"),
        ("soc = 0.5", "soc = 1.5", "start.soc: input should be less than or equal to 1"),
        ("temp_c = 20.0", "temp_c = 293.0", "start.temp_c: input should be less than or equal"),
        ("[10.0, 20.0]", "[0.0, 20.0]", "ambient: rising times are valid"),
        ("[10.0, 20.0]", "[10.0, 293.0]", "ambient: -60 to 150 degC is valid"),
        ('state = "off"', 'state = "of"', "expect.state: input should be 'boot', 'off'"),
        ('state = "off"', 'stat = "off"', "expect.stat: unknown key; valid here: state, trips"),
        ('state = "off"', 'trips = ["foo"]', "expect.trips: no rule 'foo'; there are: "),
    ],
)
def test_refused_values(old, new, says, tmp_path):
    assert GOOD.count(old) == 1
    (line,) = refused(GOOD.replace(old, new), tmp_path)
    assert "s.toml: " + says in line


def test_all_errors_at_once(tmp_path):
    (tmp_path / "f.toml").write_text('name = "f"\nabout = ""\nwhere = "bus"\nkind = "welded"\n')
    parts = f'[[fault]]\n{SPAN}use = "{tmp_path}/f.toml"\n[[load]]\n{SPAN}profile = "nope"\n'
    text = (TOP + AMBIENT + START + parts + EXPECT).replace("bench_1s", "nope")
    found = "\n".join(refused(text + 'warns = ["foo"]\n', tmp_path))
    assert found.count("\n") == 3
    for part in ("f.toml: kind nack, stuck_bus, bit_flip, torn is valid for where 'bus'",
                 "pack: no pack",
                 "load.0.profile", "expect.warns"):  # fmt: skip
        assert part in found


def test_profiles_are_currents_of_one_cell():
    for name, seconds in (("us06", 600), ("la92", 1435), ("lift", 280)):
        profile = read_profile(name)
        assert len(profile) == seconds and np.isfinite(profile).all()
        assert profile.min() < -3 and profile.max() > 0.5  # drive and regeneration


def test_lift_holds_pulses_of_ten_seconds():
    for k, peak_a in enumerate((3.0, 6.0, 12.0, 18.0)):
        piece = read_profile("lift")[70 * k : 70 * (k + 1)]
        lifting = piece < -0.5 * peak_a
        assert lifting[5:15].all() and lifting.sum() in (10, 11)
        assert piece[5:15].mean() == pytest.approx(-peak_a, rel=0.01)
        assert 0.3 < piece[56] / (0.27 * peak_a) < 1.5 and not piece[-3:].any()


def test_request_codes():
    assert [request_code(word) for word in ("open", "close", "ack", "clear", "ship")] == [
        1, 2, 3, 4, 5,
    ]  # fmt: skip
