"""``/admin/v1``: budgets, limits, the ledger, usage and prices, for operators.

What changes a limit, a charge or a month needs the role admin, and no agent's token gets here (B5).
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed
from cryogate.governance.books import Books, Close, Correction
from cryogate.governance.budget_admin import BudgetAdmin, BudgetLimits, Reason
from cryogate.governance.budget_records import Change
from cryogate.governance.chargeback import FORMATS, to_csv, to_focus, usage
from cryogate.governance.price_list import PriceList
from cryogate.governance.scoped_budgets import Lifted, NewLimit, ScopedBudgets
from cryogate.ports.store import ReadStore
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number
from cryogate.server.views import (
    budget_view,
    change_view,
    closing_view,
    limit_view,
    page_view,
    posting_view,
    usage_view,
)

_LOOK = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
_MAX_BODY = 16 << 10
_PAGE = 50
_RENDERED: dict[str, Callable[..., str]] = {"csv": to_csv, "focus": to_focus}


class BudgetRoutes:
    """Everything about money that an operator may see or change."""

    def __init__(
        self,
        *,
        store: ReadStore,
        budgets: BudgetAdmin,
        limits: ScopedBudgets,
        books: Books,
        prices: PriceList,
    ) -> None:
        self._store = store
        self._budgets = budgets
        self._limits = limits
        self._books = books
        self._prices = prices

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint with the roles that may call it; admins may call all."""
        base = "/admin/v1"
        return (
            ForOperators("GET", f"{base}/budgets", _LOOK, self.list_budgets),
            ForOperators("GET", f"{base}/budgets/{{id}}", _LOOK, self.show_budget),
            ForOperators("PUT", f"{base}/budgets/{{id}}", (), self.set_budget),
            ForOperators("POST", f"{base}/budgets/{{id}}/unblock", (), self.unblock_budget),
            ForOperators("GET", f"{base}/budgets/{{id}}/history", _LOOK, self.budget_history),
            ForOperators("GET", f"{base}/budget-limits", _LOOK, self.list_limits),
            ForOperators("PUT", f"{base}/budget-limits", (), self.set_limit),
            ForOperators("POST", f"{base}/budget-limits/remove", (), self.remove_limit),
            ForOperators("POST", f"{base}/budget-limits/unblock", (), self.unblock_limit),
            ForOperators("GET", f"{base}/budget-limits/history", _LOOK, self.limit_history),
            ForOperators("GET", f"{base}/ledger/closings", _LOOK, self.list_closings),
            ForOperators("POST", f"{base}/ledger/close", (), self.close_month),
            ForOperators("POST", f"{base}/ledger/corrections", (), self.correct),
            ForOperators("GET", f"{base}/ledger/entries/{{id}}", _LOOK, self.list_entries),
            ForOperators("GET", f"{base}/ledger/check", _LOOK, self.check),
            ForOperators("GET", f"{base}/usage", _LOOK, self.show_usage),
            ForOperators("GET", f"{base}/prices", _LOOK, self.list_prices),
        )

    # -- totals of experiments ---------------------------------------------------------------

    async def list_budgets(self, request: Request, operator: Operator) -> Response:
        """Budgets by experiment."""
        params = query(request, "after", "limit")
        page = await self._budgets.list(params.get("after"), _limit(params))
        return reply(page_view(page, budget_view))

    async def show_budget(self, request: Request, operator: Operator) -> Response:
        """One budget."""
        return reply(budget_view(await self._budgets.show(request.path_params["id"])))

    async def set_budget(self, request: Request, operator: Operator) -> Response:
        """The budget, with its new limits."""
        limits = await read_json(request, BudgetLimits, _MAX_BODY)
        found = await self._budgets.set_limits(request.path_params["id"], limits, actor(operator))
        return reply(budget_view(found))

    async def unblock_budget(self, request: Request, operator: Operator) -> Response:
        """The budget, in use again."""
        why = await read_json(request, Reason, _MAX_BODY)
        found = await self._budgets.unblock(request.path_params["id"], why, actor(operator))
        return reply(budget_view(found))

    async def budget_history(self, request: Request, operator: Operator) -> Response:
        """Who changed this budget, newest first."""
        params = query(request, "limit", "before")
        found = await self._budgets.history(
            request.path_params["id"], _limit(params), _before(params)
        )
        return reply(_changes(found, _limit(params)))

    # -- limits of other scopes --------------------------------------------------------------

    async def list_limits(self, request: Request, operator: Operator) -> Response:
        """Every limit in force, with what its newest periods have used."""
        query(request)
        return reply({"items": [limit_view(i) for i in await self._limits.list()], "next": None})

    async def set_limit(self, request: Request, operator: Operator) -> Response:
        """The limit, as it is now."""
        new = await read_json(request, NewLimit, _MAX_BODY)
        return reply(limit_view(await self._limits.set(new, actor(operator))))

    async def remove_limit(self, request: Request, operator: Operator) -> Response:
        """204: it is no limit any more; its windows and history stay."""
        gone = await read_json(request, Lifted, _MAX_BODY)
        await self._limits.remove(gone, actor(operator))
        return Response(status_code=204)

    async def unblock_limit(self, request: Request, operator: Operator) -> Response:
        """The limit, in use again."""
        blocked = await read_json(request, Lifted, _MAX_BODY)
        return reply(limit_view(await self._limits.unblock(blocked, actor(operator))))

    async def limit_history(self, request: Request, operator: Operator) -> Response:
        """Who changed the limits of ``?scope=`` and ``?subject=``, newest first."""
        params = query(request, "scope", "subject", "limit", "before")
        if "scope" not in params or "subject" not in params:
            raise Malformed("malformed_query", "say scope and subject")
        found = await self._limits.history(
            params["scope"], params["subject"], _limit(params), _before(params)
        )
        return reply(_changes(found, _limit(params)))

    # -- the journal -------------------------------------------------------------------------

    async def list_closings(self, request: Request, operator: Operator) -> Response:
        """Closed months and their sums."""
        query(request)
        items = [closing_view(item) for item in await self._books.closings()]
        return reply({"items": items, "next": None})

    async def close_month(self, request: Request, operator: Operator) -> Response:
        """Closed months, with the new one."""
        wanted = await read_json(request, Close, _MAX_BODY)
        items = [closing_view(item) for item in await self._books.close(wanted, actor(operator))]
        return reply({"items": items, "next": None})

    async def correct(self, request: Request, operator: Operator) -> Response:
        """201 with the job's entries."""
        wanted = await read_json(request, Correction, _MAX_BODY)
        found = await self._books.correct(wanted, actor(operator))
        return reply({"items": [posting_view(item) for item in found], "next": None}, 201)

    async def list_entries(self, request: Request, operator: Operator) -> Response:
        """The entries of one job."""
        query(request)
        found = await self._books.entries(request.path_params["id"])
        return reply({"items": [posting_view(item) for item in found], "next": None})

    async def check(self, request: Request, operator: Operator) -> Response:
        """Whether everything adds up, and what does not."""
        query(request)
        found = await self._books.check()
        return reply(
            {
                "balanced": found.balanced,
                "budgets": found.budgets,
                "windows": found.windows,
                "months": found.months,
            }
        )

    async def show_usage(self, request: Request, operator: Operator) -> Response:
        """What ``?month=`` cost, as JSON, or as text in ``?format=csv`` or ``focus``."""
        params = query(request, "month", "format")
        if "month" not in params:
            raise Malformed("malformed_query", "say which month: ?month=2026-11")
        kind = params.get("format")
        if kind not in (None, *FORMATS):
            raise Malformed("malformed_query", f"format is one of {', '.join(FORMATS)}")
        found = await usage(self._store, params["month"])
        if kind is None:
            return reply(usage_view(found))
        return Response(
            _RENDERED[kind](found), headers={"cache-control": "no-store"}, media_type="text/csv"
        )

    async def list_prices(self, request: Request, operator: Operator) -> Response:
        """The price book in force; with ``?backend=``, the entry that prices it."""
        backend = query(request, "backend").get("backend")
        return reply(self._prices.document() if backend is None else self._prices.one(backend))


def _limit(params: dict[str, str]) -> int:
    return max(1, whole_number(params, "limit", _PAGE, 200))


def _before(params: dict[str, str]) -> int | None:
    return whole_number(params, "before", 0, 2**53) or None


def _changes(found: tuple[Change, ...], limit: int) -> dict[str, object]:
    more = found[-1].change_id if len(found) == limit else None
    return {"items": [change_view(item) for item in found], "next": more}
