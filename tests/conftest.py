"""Property tests hold on a machine that does something else too: no time is asserted, nor the pace of drawing."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
