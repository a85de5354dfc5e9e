"""Money and people: prices, budgets and approvals, and the operators' endpoints about them."""

from __future__ import annotations

from cryogate.config.sections import Approvals, Notify
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch import Dispatcher
from cryogate.gateway.overview import Overview
from cryogate.gateway.vendor_estimates import VendorEstimates
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import ApprovalRules, Demand, SqlApprovals
from cryogate.governance.books import Books
from cryogate.governance.budget_admin import BudgetAdmin
from cryogate.governance.budget_watch import BudgetWatch, MoneyAlarm
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.governance.price_list import PriceList
from cryogate.governance.promotions import Promotions
from cryogate.governance.quotes import AgeLimit, Quotes
from cryogate.governance.scoped_budgets import ScopedBudgets
from cryogate.ports.alerts import Alerts
from cryogate.ports.credentials import LeaseIssuer
from cryogate.server.approval_desk_routes import ApprovalDeskRoutes
from cryogate.server.budget_routes import BudgetRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.server.operator_routes import OperatorRoutes
from cryogate.server.promotion_routes import PromotionRoutes
from cryogate.wiring.ground import Ground


class Governance:
    """What the gateway asks about money and approvals."""

    def __init__(self, ground: Ground, alerts: Alerts, leases: LeaseIssuer) -> None:
        self._ground = ground
        config = ground.config
        self.book = ground.book
        self._age = AgeLimit(config.prices.max_age_days, config.prices.stale)
        self.prices = Quotes(
            self.book,
            age=self._age,
            estimators={
                scheme: VendorEstimates(provider, leases, ground.clock)
                for scheme, provider in ground.providers.items()
                if provider.estimates
            },
        )
        self.ledger = SqlLedger(
            ground.store,
            rates=self.book.rates,
            block_on_overrun=config.budgets.on_overrun == "block",
        )
        self.alarm = MoneyAlarm(alerts)
        self.soft_limits = BudgetWatch(ground.store, ground.clock, self.alarm.tell)
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
            experiments=ExperimentAdmin(store, clock, ground.hooks),
            overview=Overview(store),
            cancel=dispatcher.cancel,
            devices=lambda: ground.devices,
            providers=dispatcher.providers,
        )
        promotions = Promotions(store, clock, self.approvals, self.book, lambda: ground.devices)
        money = BudgetRoutes(
            store=store,
            budgets=BudgetAdmin(store, clock),
            limits=ScopedBudgets(store, clock, self.ledger),
            books=Books(store, clock, self.ledger),
            prices=PriceList(self.book, self._age, clock.now_ms),
        )
        return (
            *ApprovalDeskRoutes(self.desk, store, decided).endpoints(),
            *PromotionRoutes(promotions, self.desk).endpoints(),
            *others.endpoints(),
            *money.endpoints(),
        )


def approval_rules(config: Approvals, notify: Notify) -> ApprovalRules:
    """Who must agree to what, as it is configured."""
    return ApprovalRules(
        ttl_ms=config.expiry_s * 1000,
        prompt_after_ms=notify.remind_s * 1000,
        max_pending=config.pending_per_agent,
        max_per_hour=config.per_agent_and_hour,
        job=Demand(config.quorum, config.role),
        second_person_cents=config.second_person_cents or None,
        release=Demand(config.release_quorum, config.release_role),
        promotion=Demand(config.promotion_quorum, config.promotion_role),
    )
