# Roles, the experiment, the stage and the caps of the tier.

package cryogate

import rego.v1

# -- roles

violations contains found("role", null, role, "this role is for humans; take it from the agent") if {
	some role in input.agent.roles
	not data.cryogate_data.roles[role].humans_only == false
}

violations contains found("role", null, input.action, "the agent has no role that allows this") if {
	not role_allows
}

role_allows if {
	some role in input.agent.roles
	input.action in data.cryogate_data.roles[role].actions
}

# -- the experiment: lists are exact names; an empty list allows nobody and nothing

violations contains found("experiment.allowed_agents", null, input.agent.id, "ask the experiment's owner to add the agent") if {
	input.experiment != null
	not input.agent.id in input.experiment.allowed_agents
}

violations contains found("experiment.closes", input.experiment.closes_ms, input.now_ms, "the experiment is closed") if {
	input.experiment != null
	input.action != "result:read"
	not input.now_ms < input.experiment.closes_ms
}

violations contains found("experiment.allowed_backends", input.experiment.allowed_backends, name, "use a backend of the experiment") if {
	input.experiment != null
	some name in backends
	not name in input.experiment.allowed_backends
}

violations contains found("allowed_backends", input.experiment.allowed_backends, [], "name at least one backend") if {
	input.action == "token:issue"
	count(input.grant.allowed_backends) == 0
}

# -- back ends and stage

violations contains found("tier.backends", tier.backends, name, "use a backend of this tier") if {
	some name in backends
	not matches(tier.backends, name)
}

violations contains found("stage", "simulator", name, "agents begin on simulators; an operator may promote the agent") if {
	input.agent.stage != "hardware"
	some name in real_backends
}

violations contains found("tier.simulators_only", true, name, "agents of this tier use simulators") if {
	tier.simulators_only != false
	some name in real_backends
}

# Before there is a device in the question, the operator's list says what a simulator is.
real_backends contains name if {
	input.action == "token:issue"
	some name in input.grant.allowed_backends
	not matches(data.cryogate_data.settings.simulators, name)
}

real_backends contains input.backend.name if {
	is_job
	input.backend.simulator != true
}

# -- figures: totals count what the token has done already, so work split over jobs meets one bound

violations contains found(name, limit, actual, "stay within the limit") if {
	some [name, limit, actual] in bounds
	not limit - actual >= 0
}

bounds := [
	["tier.max_shots", tier.max_shots, input.grant.max_shots],
	["tier.max_total_shots", tier.max_total_shots, input.grant.max_total_shots],
	["tier.max_jobs", tier.max_jobs, input.grant.max_jobs],
	["tier.max_cost_cents", tier.max_cost_cents, input.grant.max_cost_cents],
	["tier.ttl_s", tier.ttl_s, input.grant.ttl_s],
] if input.action == "token:issue"

bounds := [
	["tier.max_shots", tier.max_shots, input.shots],
	["tier.max_total_shots", tier.max_total_shots, token_shots],
	["tier.max_jobs", tier.max_jobs, input.history.token_jobs + 1],
	["tier.max_cost_cents", tier.max_cost_cents, token_cents],
	["tier.max_qubits", tier.max_qubits, input.circuit.qubits],
	["tier.max_depth", tier.max_depth, input.circuit.depth],
	["tier.max_two_qubit_gates", tier.max_two_qubit_gates, input.circuit.two_qubit_gates],
] if is_job

token_shots := input.history.token_shots + input.shots if is_job

token_cents := input.history.token_cents + input.price.cents if is_job

violations contains found("currency", data.cryogate_data.settings.currency, input.price.currency, "limits are kept in one currency") if {
	is_job
	input.price.currency != data.cryogate_data.settings.currency
}

# -- gates

gates := input.grant.allowed_gate_set if input.action == "token:issue"

gates := input.circuit.gate_set if is_job

violations contains found("tier.gates", tier.gates, gate, "use other gates") if {
	not "*" in tier.gates
	some gate in gates
	not matches(tier.gates, gate)
}

violations contains found("tier.gates", null, gate, "this gate is not known here") if {
	gates != data.cryogate_data.settings.gates
	some gate in gates
	not gate in data.cryogate_data.settings.gates
}

# -- results

rank := {"none": 0, "aggregates": 1, "raw": 2}

role_rank := max({0} | {r | some role in input.agent.roles; r := rank[data.cryogate_data.roles[role].results]})

right_rank := min({role_rank, rank[tier.results], rank[input.experiment.release]})

violations contains found("results", ["none", "aggregates", "raw"][right_rank], input.grant.results, "ask for no more than is allowed") if {
	input.action == "token:issue"
	not right_rank - rank[input.grant.results] >= 0
}

# -- what a yes obliges to

# How many people, in which operator role; a tier that does not say needs one approver.
asked(reason) := {
	"kind": "approval", "reason": reason,
	"quorum": object.get(tier, "approval_quorum", 1),
	"role": object.get(tier, "approval_role", "approver"),
}

obligations contains asked("the job costs more than the tier may spend unasked") if {
	is_job
	not tier.approval_above_cents - input.price.cents >= 0
}

obligations contains asked("the token's jobs together cost more than the tier may spend unasked") if {
	is_job
	not tier.approval_above_total_cents - token_cents >= 0
}

# On reading, this is about raw results only: each reading needs a yes of its own.
obligations contains asked("raw results of sensitive work need a person") if {
	input.action == "result:read"
	input.experiment.classification == "sensitive"
	within(2, reader_rank)
}

reader_rank := min({right_rank, rank[input.grant.results]})

concerns_results if input.action in {"job:submit", "job:estimate", "result:read"}

obligations contains {"kind": "no_results", "reason": "role, tier, token or experiment gives no results"} if {
	concerns_results
	not reader_rank - 1 >= 0
}

obligations contains {"kind": "aggregates_only", "reason": "role, tier, token or experiment gives aggregates only"} if {
	concerns_results
	not reader_rank - 2 >= 0
}
