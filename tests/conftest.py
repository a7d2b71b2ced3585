"""One Hypothesis profile for the whole suite."""

from hypothesis import HealthCheck, settings

# A test's time depends on the machine it shares; examples are few and rich instead of many.
settings.register_profile("suite", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("suite")
