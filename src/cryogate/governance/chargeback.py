"""Chargeback: what a month cost, by day, experiment, agent, owner, cost center and backend.

Two formats. ``csv`` is ours. ``focus`` has the columns of the FinOps Open Cost and Usage
Specification (FOCUS) 1.0; what the specification has no column for is in ``x_`` columns, as it
asks for. An amount is written with two decimals out of integer cents: there is no float here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from cryogate.domain.errors import Conflict, Malformed
from cryogate.domain.periods import DAY_MS, bounds, parse_month, show
from cryogate.governance.rows import number, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.store import ReadStore

FORMATS = ("csv", "focus")
MAX_LINES = 100_000
#: What a spreadsheet takes for a formula when a cell begins with it (H4).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a month: jobs settled, or corrections, of one day and one payer."""

    day_ms: int
    experiment_id: str
    agent_id: str
    owner: str
    cost_center: str
    backend: str
    currency: str
    kind: str
    jobs: int
    cents: int
    shots: int


@dataclass(frozen=True, slots=True)
class Usage:
    """A month's lines, and whether it is closed."""

    month: int
    lines: tuple[Line, ...]


async def usage(store: ReadStore, month_text: str) -> Usage:
    """The lines of a month.

    Raises:
        Malformed: no month.
        Conflict: more lines than one answer may have.
        StoreUnavailable: the database did not answer.
    """
    try:
        month = parse_month(month_text)
    except ValueError as error:
        raise Malformed("malformed_month", str(error)) from error
    rows = await store.fetch("usage_of_month", {"period": month, "limit": MAX_LINES + 1})
    if len(rows) > MAX_LINES:
        raise Conflict("too_many_lines", f"this month has more than {MAX_LINES} lines")
    return Usage(
        month,
        tuple(
            Line(
                number(row, "day") * DAY_MS,
                text(row, "experiment_id"),
                text(row, "agent_id"),
                text(row, "owner"),
                text(row, "cost_center"),
                text(row, "backend"),
                text(row, "currency"),
                text(row, "kind"),
                number(row, "jobs"),
                number(row, "cents"),
                number(row, "shots"),
            )
            for row in rows
        ),
    )


def to_csv(found: Usage) -> str:
    """Our own columns: amounts in cents and in units, names as they are."""
    header = ["month", "day", *(f.name for f in fields(Line) if f.name != "day_ms"), "amount"]
    return _written(header, (_ours(found.month, line) for line in found.lines))


def _ours(month: int, line: Line) -> Mapping[str, object]:
    return {
        "month": show(month),
        "day": rfc3339(line.day_ms)[:10],
        "amount": amount(line.cents),
        **{f.name: getattr(line, f.name) for f in fields(Line) if f.name != "day_ms"},
    }


#: FOCUS 1.0, every column that it requires, in its order.
FOCUS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId", "SubAccountName",
    "Tags", "x_AgentId", "x_CostCenter", "x_Jobs", "x_Owner",
)  # fmt: skip


def to_focus(found: Usage) -> str:
    """FOCUS 1.0 as CSV. The billing account is the owner, the sub-account the cost center."""
    return _written(FOCUS, (_focus(found.month, line) for line in found.lines))


def _focus(month: int, line: Line) -> Mapping[str, object]:
    first_ms, after_ms = bounds(month)
    # A correction may be of an earlier, closed month; its charge period is when it was posted.
    correction = line.kind == "correct"
    cost, vendor = amount(line.cents), line.backend.partition(":")[0]
    return {
        "BilledCost": cost,
        "BillingAccountId": line.owner,
        "BillingAccountName": line.owner,
        "BillingCurrency": line.currency,
        "BillingPeriodEnd": _time(after_ms),
        "BillingPeriodStart": _time(first_ms),
        "ChargeCategory": "Adjustment" if correction else "Usage",
        "ChargeClass": "Correction" if correction else "",
        "ChargeDescription": _described(line, correction),
        "ChargeFrequency": "One-Time" if correction else "Usage-Based",
        "ChargePeriodEnd": _time(line.day_ms + DAY_MS),
        "ChargePeriodStart": _time(line.day_ms),
        "ConsumedQuantity": "" if correction else str(line.shots),
        "ConsumedUnit": "" if correction else "Shots",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": vendor,
        "ListCost": cost,
        "PricingCategory": "" if correction else "Standard",
        "PricingQuantity": "" if correction else str(line.jobs),
        "PricingUnit": "" if correction else "Jobs",
        "ProviderName": vendor,
        "PublisherName": vendor,
        "ResourceId": line.experiment_id,
        "ResourceName": line.experiment_id,
        "ResourceType": "Experiment",
        "ServiceCategory": "Compute",
        "ServiceName": line.backend,
        "SkuId": line.backend,
        "SkuPriceId": line.backend,
        "SubAccountId": line.cost_center,
        "SubAccountName": line.cost_center,
        "Tags": json.dumps({"agent": line.agent_id, "experiment": line.experiment_id}),
        "x_AgentId": line.agent_id,
        "x_CostCenter": line.cost_center,
        "x_Jobs": str(line.jobs),
        "x_Owner": line.owner,
    }


def _described(line: Line, correction: bool) -> str:
    if correction:
        return f"{line.jobs} corrections on {line.backend}"
    return f"{line.jobs} jobs, {line.shots} shots on {line.backend}"


def amount(cents: int) -> str:
    """``-12.05`` of -1205."""
    sign, whole = ("-", -cents) if cents < 0 else ("", cents)
    return f"{sign}{whole // 100}.{whole % 100:02d}"


def _time(at_ms: int) -> str:
    return rfc3339(at_ms).replace(".000Z", "Z")


def _written(header: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow([_cell(line.get(name, "")) for name in header])
    return out.getvalue()


def _cell(value: object) -> str:
    """A cell that no spreadsheet runs. A number may begin with a sign; a name may not."""
    written = str(value)
    if written.startswith(_FORMULA) and not _is_number(written):
        return "'" + written
    return written


def _is_number(written: str) -> bool:
    return written.removeprefix("-").replace(".", "", 1).isdigit()
