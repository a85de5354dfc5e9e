# Statements, in the manner of IAM.
#
# 1. Every resource of the question must be allowed by a statement that applies to it.
# 2. A deny that applies wins over every allow.
# 3. Selectors say where a statement applies; limits restrict: an allow allows up to its limits, a
#    deny denies what goes beyond one of them, and a deny without limits denies.
# 4. A condition that is unknown or cannot be read is never skipped: the allow does not apply, the
#    deny does.

package cryogate

import rego.v1

resources contains concat("", ["backend:", name]) if some name in backends

resources contains concat("", ["experiment:", input.experiment.id]) if input.experiment != null

resources contains "catalogue" if input.action == "backend:list"

# The statements that can be about this agent and action; looked for where no index was made.
# Two steps, because the embedded engine copies the whole object when both are written as one.
by_action := object.get(data.cryogate_index.by_agent, input.agent.id, data.cryogate_index.others)

sids := by_action[input.action]

sids := found_sids if not data.cryogate_index

found_sids contains sid if {
	not data.cryogate_index
	some sid, s in data.cryogate_data.statements
	matches(s.actions, input.action)
}

# Which statement speaks about which resource of this question, by principal and resource.
hits contains [sid, resource] if {
	some sid in sids
	s := data.cryogate_data.statements[sid]
	applies_to_principal(s.principal)
	some resource in resources
	matches(s.resources, resource)
}

about[sid] := data.cryogate_data.statements[sid] if some [sid, _] in hits

applies_to_principal(principal) if principal == "*"

applies_to_principal(principal) if {
	is_object(principal)
	count(principal) > 0
	every key, patterns in principal { principal_matches(key, patterns) }
}

principal_matches("agent", patterns) if matches(as_list(patterns), input.agent.id)

principal_matches("owner", patterns) if matches(as_list(patterns), input.agent.owner)

principal_matches("tier", patterns) if matches(as_list(patterns), input.agent.tier)

principal_matches("role", patterns) if {
	some role in input.agent.roles
	matches(as_list(patterns), role)
}

as_list(x) := x if is_array(x)

as_list(x) := [x] if is_string(x)

# (1), (4): an allow applies only when every condition is shown to hold.
satisfied contains sid if {
	some sid, s in about
	s.effect == "allow"
	not broken(s)
}

broken(s) if {
	some key, want in s.conditions
	not holds(key, want)
}

covered contains resource if {
	some [sid, resource] in hits
	sid in satisfied
}

violations contains found("statement", null, resource, "no statement allows this here") if {
	some resource in resources
	not resource in covered
}

violations contains found("statement", null, input.action, "no statement allows this") if count(resources) == 0

# (2), (3), (4)
denying[sid] := s if {
	some sid, s in about
	s.effect != "allow"
	not selected_away(s)
}

selected_away(s) if {
	some key, want in s.conditions
	key in selectors
	not selects(key, want)
	readable(key, want)
}

limits(s) := {key | some key, _ in s.conditions; not key in selectors}

violations contains found("statement", null, sid, "this statement denies it") if {
	some sid, s in denying
	count(limits(s)) == 0
}

violations contains found(concat("", ["statement.", key]), null, sid, "this statement denies what goes beyond its limit") if {
	some sid, s in denying
	some key in limits(s)
	not holds(key, s.conditions[key])
}

# -- conditions

selectors := {"Classification", "Stage", "ExperimentIdPresent", "NotBefore", "NotAfter", "HoursUtc", "AttributeEquals", "DaysUtc", "Models"}

numeric_limits := {"MaxShots", "MaxTotalShots", "MaxJobs", "MaxCostCents", "MaxTtlS", "MaxQubits", "MaxDepth", "MaxTwoQubitGates"}

# Three small sets of rules instead of a large one: an interpreter tries every rule of a name.
holds(key, want) if {
	key in selectors
	selects(key, want)
} else if {
	key in numeric_limits
	number_kept(key, want)
} else if {
	kept(key, want)
}

readable("NotBefore", want) if time.parse_rfc3339_ns(want) > 0

readable("NotAfter", want) if time.parse_rfc3339_ns(want) > 0

readable("HoursUtc", want) if {
	is_number(want.from)
	is_number(want.to)
}

readable("AttributeEquals", want) if is_object(want)

readable("ExperimentIdPresent", want) if is_boolean(want)

readable(key, want) if {
	key in {"Classification", "Stage", "DaysUtc", "Models"}
	is_array(as_list(want))
}

selects("Classification", want) if input.experiment.classification in as_list(want)

selects("Stage", want) if input.agent.stage in as_list(want)

selects("ExperimentIdPresent", want) if want == input.experiment != null

selects("NotBefore", want) if input.now_ms * 1000000 >= time.parse_rfc3339_ns(want)

selects("NotAfter", want) if input.now_ms * 1000000 < time.parse_rfc3339_ns(want)

day_ms := input.now_ms % 86400000

selects("HoursUtc", want) if {
	want.from <= want.to
	day_ms >= want.from * 3600000
	day_ms < want.to * 3600000
}

selects("HoursUtc", want) if {
	want.from > want.to
	day_ms >= want.from * 3600000
}

selects("HoursUtc", want) if {
	want.from > want.to
	day_ms < want.to * 3600000
}

selects("AttributeEquals", want) if {
	is_object(want)
	every key, value in want { input.agent.attributes[key] == value }
}

selects("DaysUtc", want) if weekdays[floor(input.now_ms / 86400000) % 7] in as_list(want)

# 1970-01-01 was a Thursday.
weekdays := ["thu", "fri", "sat", "sun", "mon", "tue", "wed"]

selects("Models", want) if {
	is_string(input.agent.attributes.model)
	matches(as_list(want), input.agent.attributes.model)
}

kept("RequireSimulator", want) if want == false

kept("RequireSimulator", want) if {
	want == true
	count(real_backends) == 0
}

kept("AllowedGates", want) if {
	every gate in object.get({"g": gates}, "g", []) { matches(want, gate) }
}

kept("AllowedGates", _) if not asks_for_circuit

kept("AllowedBackends", want) if {
	every name in backends { matches(want, name) }
}

kept("AllowedBackends", _) if not asks_for_circuit

asks_for_circuit if input.action == "token:issue"

asks_for_circuit if is_job

kept("ForbiddenFeatures", want) if {
	every feature in input.circuit.features { not matches(want, feature) }
}

kept("ForbiddenFeatures", _) if not is_job

# -- conditions on what is known of the agent, the experiment and the device: unknown is not kept

kept("MinModelConfidence", want) if within(want, input.agent.attributes.model_confidence)

kept("RequireSandbox", want) if want == false

kept("RequireSandbox", want) if {
	want == true
	input.agent.attributes.sandboxed == true
}

kept("MaxRecentDenials", want) if within(input.history.recent_denials, want)

kept("MinBudgetLeftCents", want) if within(want, input.experiment.budget_left_cents)

kept("MinBudgetLeftShots", want) if within(want, input.experiment.budget_left_shots)

kept("MaxCalibrationAgeS", want) if within(input.backend.calibration_age_s, want)

kept("MaxCalibrationAgeS", want) if {
	is_number(want)
	not on_hardware
}

kept("RequireSimulatedFirst", want) if want == false

kept("RequireSimulatedFirst", want) if {
	want == true
	input.circuit.simulated == true
}

kept("RequireSimulatedFirst", want) if {
	want == true
	not on_hardware
}

on_hardware if {
	is_job
	input.backend.simulator != true
}

# A limit on something that an action does not have (depth, when a token is issued) is kept.
number_kept(key, want) if want - figures[key] >= 0

number_kept(key, _) if not key in object.keys(figures)

default figures := {}

figures := {
	"MaxShots": input.grant.max_shots,
	"MaxTotalShots": input.grant.max_total_shots,
	"MaxJobs": input.grant.max_jobs,
	"MaxCostCents": input.grant.max_cost_cents,
	"MaxTtlS": input.grant.ttl_s,
} if input.action == "token:issue"

figures := {
	"MaxShots": input.shots,
	"MaxTotalShots": token_shots,
	"MaxJobs": input.history.token_jobs + 1,
	"MaxCostCents": token_cents,
	"MaxQubits": input.circuit.qubits,
	"MaxDepth": input.circuit.depth,
	"MaxTwoQubitGates": input.circuit.two_qubit_gates,
} if is_job
