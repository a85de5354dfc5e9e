package cryogate_test

import rego.v1

import data.cryogate

agent := {"id": "bot", "owner": "ada@example.org", "tier": "sandbox", "stage": "simulator", "roles": ["qpu.submit-only", "qpu.read-aggregates"], "attributes": {}}

experiment := {
	"id": "ghz", "purpose": "test", "classification": "poc", "owner": "ada@example.org", "cost_center": "",
	"allowed_agents": ["bot"], "allowed_backends": ["local:aer", "ionq:forte-1"], "release": "aggregates",
	"closes_ms": 2000, "budget_left_cents": 1000, "budget_left_shots": 1000,
}

grant := {
	"allowed_backends": ["local:aer"], "allowed_gate_set": ["h", "cx"], "max_shots": 1000, "max_total_shots": 10000,
	"max_jobs": 10, "max_cost_cents": 100, "results": "aggregates", "ttl_s": 300,
}

history := {"token_jobs": 0, "token_shots": 0, "token_cents": 0}

job := {
	"action": "job:submit", "now_ms": 1000, "agent": agent, "experiment": experiment, "grant": grant, "shots": 100,
	"circuit": {"sha256": "00", "qubits": 2, "depth": 2, "gates": 2, "two_qubit_gates": 1, "measurements": 2, "gate_set": ["cx", "h"], "features": []},
	"backend": {"name": "local:aer", "scheme": "local", "simulator": true, "qubits": 24},
	"price": {"cents": 2, "currency": "USD"}, "history": history,
}

issue := {
	"action": "token:issue", "now_ms": 1000, "agent": agent, "experiment": experiment, "grant": grant, "shots": null,
	"circuit": null, "backend": null, "price": null, "history": history,
}

limits(decision) := {v.limit | some v in decision.violations}

test_job_is_allowed if cryogate.decision.allow == true with input as job

test_token_is_allowed if cryogate.decision.allow == true with input as issue

test_nothing_is_denied if cryogate.decision.allow == false with input as {}

test_unknown_action_is_denied if {
	cryogate.decision.allow == false with input as object.union(job, {"action": "job:delete"})
}

test_unknown_tier_is_denied if {
	"tier" in limits(cryogate.decision) with input as object.union(job, {"agent": object.union(agent, {"tier": "nobody"})})
}

test_every_violation_is_told if {
	question := object.union(job, {"shots": 50000, "backend": {"name": "ionq:forte-1", "scheme": "ionq", "simulator": false, "qubits": 36}})
	got := limits(cryogate.decision) with input as question
	{"tier.max_shots", "tier.backends", "stage", "tier.simulators_only"} - got == set()
}

test_stage_simulator_never_reaches_hardware if {
	trusted := object.union(agent, {"tier": "trusted"})
	question := object.union(job, {"agent": trusted, "backend": {"name": "ionq:forte-1", "scheme": "ionq", "simulator": false, "qubits": 36}})
	"stage" in limits(cryogate.decision) with input as question
}

test_costly_job_needs_approval if {
	decision := cryogate.decision with input as object.union(job, {"price": {"cents": 501, "currency": "USD"}})
	decision.allow == true
	"approval" in {o.kind | some o in decision.obligations}
}

test_foreign_agent_is_denied if {
	"experiment.allowed_agents" in limits(cryogate.decision) with input as object.union(job, {"agent": object.union(agent, {"id": "eve"})})
}

test_human_role_on_an_agent_refuses if {
	"role" in limits(cryogate.decision) with input as object.union(job, {"agent": object.union(agent, {"roles": ["qpu.submit-only", "qpu.admin-experiment"]})})
}

test_no_role_no_action if {
	"role" in limits(cryogate.decision) with input as object.union(job, {"agent": object.union(agent, {"roles": []})})
}

test_no_statements_no_yes if {
	decision := cryogate.decision with input as job with data.cryogate_data.statements as {}
	decision.allow == false
}

test_deny_wins if {
	statements := {
		"all": {"principal": "*", "effect": "allow", "actions": ["*"], "resources": ["*"]},
		"not-bot": {"principal": {"agent": "bot"}, "effect": "deny", "actions": ["job:*"], "resources": ["backend:*"]},
	}
	decision := cryogate.decision with input as job with data.cryogate_data.statements as statements
	decision.allow == false
}

test_deny_beyond_a_limit if {
	statements := {
		"all": {"principal": "*", "effect": "allow", "actions": ["*"], "resources": ["*"]},
		"few-shots": {"principal": "*", "effect": "deny", "actions": ["job:*"], "resources": ["*"], "conditions": {"MaxShots": 99}},
	}
	decision := cryogate.decision with input as job with data.cryogate_data.statements as statements
	limits(decision) == {"statement.MaxShots"}
}

test_unknown_condition_never_helps if {
	allow := {"a": {"principal": "*", "effect": "allow", "actions": ["*"], "resources": ["*"], "conditions": {"MaxSchots": 5}}}
	deny := object.union(
		{"b": {"principal": "*", "effect": "allow", "actions": ["*"], "resources": ["*"]}},
		{"c": {"principal": "*", "effect": "deny", "actions": ["*"], "resources": ["*"], "conditions": {"MaxSchots": 5}}},
	)
	one := cryogate.decision with input as job with data.cryogate_data.statements as allow
	two := cryogate.decision with input as job with data.cryogate_data.statements as deny
	one.allow == false
	two.allow == false
}

test_sensitive_stays_on_simulators if {
	question := object.union(job, {
		"agent": object.union(agent, {"tier": "trusted", "stage": "hardware"}),
		"experiment": object.union(experiment, {"classification": "sensitive"}),
		"backend": {"name": "ionq:forte-1", "scheme": "ionq", "simulator": false, "qubits": 36},
	})
	"statement.RequireSimulator" in limits(cryogate.decision) with input as question
}

test_caps_are_tier_and_experiment if {
	caps := cryogate.caps with input as issue
	caps.allowed_backends == ["local:aer"]
	caps.max_shots == 10000
	caps.results == "aggregates"
}

test_raw_results_are_never_granted_beyond_the_experiment if {
	wide := object.union(grant, {"results": "raw"})
	"results" in limits(cryogate.decision) with input as object.union(issue, {"grant": wide})
}

reading := {
	"action": "result:read", "now_ms": 1000,
	"agent": object.union(agent, {"tier": "trusted", "roles": ["qpu.read-raw"]}),
	"experiment": object.union(experiment, {"classification": "sensitive", "release": "raw"}),
	"grant": object.union(grant, {"results": "raw"}), "shots": null,
	"circuit": null, "backend": null, "price": null, "history": history,
}

duties(decision) := {o.kind | some o in decision.obligations}

test_raw_of_sensitive_work_needs_a_person if {
	decision := cryogate.decision with input as reading
	decision.allow == true
	duties(decision) == {"approval"}
}

test_aggregates_of_sensitive_work_need_nobody if {
	less := object.union(reading, {"grant": object.union(grant, {"results": "aggregates"})})
	decision := cryogate.decision with input as less
	duties(decision) == {"aggregates_only"}
}

test_raw_of_other_work_needs_nobody if {
	open := object.union(reading, {"experiment": object.union(experiment, {"release": "raw"})})
	decision := cryogate.decision with input as open
	duties(decision) == set()
}

test_a_tier_may_demand_more_people if {
	tiers := object.union(data.cryogate_data.tiers, {"trusted": {"approval_quorum": 2, "approval_role": "admin"}})
	decision := cryogate.decision with input as reading with data.cryogate_data.tiers as tiers
	{[o.quorum, o.role] | some o in decision.obligations; o.kind == "approval"} == {[2, "admin"]}
}

test_a_tier_that_does_not_say_needs_one_approver if {
	decision := cryogate.decision with input as reading
	{[o.quorum, o.role] | some o in decision.obligations; o.kind == "approval"} == {[1, "approver"]}
}
