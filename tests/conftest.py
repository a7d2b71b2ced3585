"""One Hypothesis profile for the whole suite."""

from hypothesis import HealthCheck, Phase, settings

# A test's time depends on the machine it shares; examples are few and rich instead of many, and
# explaining a failure takes longer than finding it.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase != Phase.explain],
)
settings.load_profile("suite")
