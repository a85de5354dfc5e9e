"""What policy is told of an agent and of an experiment, whichever part of the program asks."""

from __future__ import annotations

from cryogate.domain.agents import Agent
from cryogate.domain.experiments import Experiment
from cryogate.ports.policy import AgentFacts, ExperimentFacts


def agent_facts(agent: Agent) -> AgentFacts:
    """What policy may know of the agent."""
    return AgentFacts(
        id=agent.agent_id,
        owner=agent.owner,
        tier=agent.tier,
        stage=agent.stage.value,
        roles=tuple(sorted(agent.roles)),
        attributes=dict(agent.attributes),
    )


def experiment_facts(
    experiment: Experiment, *, left_cents: int, left_shots: int
) -> ExperimentFacts:
    """What policy may know of the experiment and of what its budget has left."""
    return ExperimentFacts(
        id=experiment.experiment_id,
        purpose=experiment.purpose,
        classification=experiment.classification.value,
        owner=experiment.owner,
        cost_center=experiment.cost_center,
        allowed_agents=tuple(sorted(experiment.allowed_agents)),
        allowed_backends=tuple(sorted(experiment.allowed_backends)),
        release=experiment.release.value,
        closes_ms=experiment.closes_ms,
        budget_left_cents=left_cents,
        budget_left_shots=left_shots,
    )
