"""Money and people: prices, budgets and approvals, and the operators' endpoints about them."""

from __future__ import annotations

from pathlib import Path

from cryogate.config.sections import Approvals, Notify
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch import Dispatcher
from cryogate.gateway.overview import Overview
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import ApprovalRules, Demand, SqlApprovals
from cryogate.governance.budget_admin import BudgetAdmin
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.governance.pricing import default_price_book, load_price_book
from cryogate.governance.promotions import Promotions
from cryogate.server.approval_desk_routes import ApprovalDeskRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.server.operator_routes import OperatorRoutes
from cryogate.server.promotion_routes import PromotionRoutes
from cryogate.wiring.ground import Ground


class Governance:
    """What the gateway asks about money and approvals."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        config = ground.config
        book = config.prices.book
        self.prices = (
            load_price_book(Path(book).read_bytes(), book) if book else default_price_book()
        )
        self.ledger = SqlLedger(ground.store)
        self.rules = approval_rules(config.approvals, config.notify)
        self.approvals = SqlApprovals(ground.store, self.rules)
        self.desk = ApprovalDesk(
            ground.store,
            self.ledger,
            ground.clock,
            rules=self.rules,
            allow_self_approval=config.approvals.insecure_self_approval,
        )

    def endpoints(self, dispatcher: Dispatcher, changes: JobChanges) -> tuple[Endpoint, ...]:
        """What operators see and decide."""
        ground = self._ground
        store, clock = ground.store, ground.clock

        def decided(approval_id: str) -> None:
            dispatcher.poke()
            changes.tell(approval_id)

        others = OperatorRoutes(
            experiments=ExperimentAdmin(store, clock),
            budgets=BudgetAdmin(store, clock),
            overview=Overview(store),
            cancel=dispatcher.cancel,
            devices=lambda: ground.devices,
        )
        promotions = Promotions(store, clock, self.approvals, self.prices, lambda: ground.devices)
        return (
            *ApprovalDeskRoutes(self.desk, decided).endpoints(),
            *PromotionRoutes(promotions, self.desk).endpoints(),
            *others.endpoints(),
        )


def approval_rules(config: Approvals, notify: Notify) -> ApprovalRules:
    """Who must agree to what, as it is configured."""
    return ApprovalRules(
        ttl_ms=config.expiry_s * 1000,
        prompt_after_ms=notify.remind_s * 1000,
        max_pending=config.pending_per_agent,
        job=Demand(config.quorum, config.role),
        second_person_cents=config.second_person_cents or None,
        release=Demand(config.release_quorum, config.release_role),
        promotion=Demand(config.promotion_quorum, config.promotion_role),
    )
