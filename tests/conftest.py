"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Tests send it; under nohup(1) it would be ignored by whatever they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A machine that is busy with something else makes no test fail.
settings.register_profile("pybuild", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pybuild")
