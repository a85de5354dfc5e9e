# The widest grant that tier and experiment have in common, `data.cryogate.caps`.
#
# It fills in what a request leaves out. It decides nothing: the filled request is a question like
# any other, so a statement that is narrower still refuses it and says by which limit.

package cryogate

import rego.v1

caps := {
	"allowed_backends": names,
	"allowed_gate_set": cap_gates,
	"max_shots": tier.max_shots,
	"max_total_shots": tier.max_total_shots,
	"max_jobs": tier.max_jobs,
	"max_cost_cents": tier.max_cost_cents,
	"results": ["none", "aggregates", "raw"][right_rank],
	"ttl_s": tier.ttl_s,
	"excess": object.get(tier, "excess", "refuse"),
} if {
	input.action == "token:issue"
	input.experiment != null
	names := [name | some name in input.experiment.allowed_backends; cap_backend(name)]
}

cap_gates := data.cryogate_data.settings.gates if {
	"*" in tier.gates
} else := [gate | some gate in data.cryogate_data.settings.gates; matches(tier.gates, gate)]

cap_backend(name) if {
	matches(tier.backends, name)
	matches(data.cryogate_data.settings.simulators, name)
}

cap_backend(name) if {
	matches(tier.backends, name)
	tier.simulators_only == false
	input.agent.stage == "hardware"
}
