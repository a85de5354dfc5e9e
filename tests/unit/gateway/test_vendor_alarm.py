"""What people are told of a vendor that is left alone."""

from __future__ import annotations

from collections.abc import Mapping

from cryogate.domain.decisions import Scalar
from cryogate.gateway.breaker import Breakers
from cryogate.gateway.vendor_lies import VendorAlarm
from cryogate.ports.alerts import Alerts, Severity
from cryogate.testing.clock import FakeClock


class Heard(Alerts):
    def __init__(self) -> None:
        self.alerts: list[tuple[str, str, Severity, Mapping[str, Scalar]]] = []

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        self.alerts.append((kind, subject, severity, evidence))


def test_an_opened_breaker_is_an_alert_about_its_provider() -> None:
    heard = Heard()
    breakers = Breakers(FakeClock().now_ms, VendorAlarm(heard).left_alone)
    for n in range(5):
        breakers.failed("ionq")
        breakers.unheard("ibm", f"j{n}")
    assert [alert[:3] for alert in heard.alerts] == [
        ("provider_down", "ionq", Severity.HIGH),
        ("provider_down", "ibm", Severity.HIGH),
    ]
    submissions, silence = (evidence for *_, evidence in heard.alerts)
    assert (submissions["failed_submissions"], submissions["silent_jobs"]) == (5, 0)
    assert (silence["failed_submissions"], silence["silent_jobs"]) == (0, 5)
    assert int(str(silence["retry_in_ms"])) > 0
