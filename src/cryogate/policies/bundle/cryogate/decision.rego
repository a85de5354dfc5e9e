# The decision: one object, `data.cryogate.decision`.
#
# A yes needs two things: no violation, and a statement that allows. So an empty set of data allows
# nothing, and a rule that is undefined can only take away the second. Every limit that does not
# hold is a violation of its own, so that the caller learns of all of them at once.

package cryogate

import rego.v1

default decision := {
	"allow": false,
	"reasons": ["policy_undefined"],
	"obligations": [],
	"violations": [],
}

decision := {
	"allow": true,
	"reasons": reasons,
	"obligations": duties,
	"violations": [],
} if {
	count(violations) == 0
	count(satisfied) > 0
	reasons := [reason | some sid in satisfied; reason := concat("", ["statement:", sid])]
	duties := [o | some o in obligations]
}

decision := {
	"allow": false,
	"reasons": reasons,
	"obligations": [],
	"violations": told,
} if {
	count(violations) > 0
	told := [v | some v in violations]
	names := {v.limit | some v in violations}
	reasons := [name | some name in names]
}

found(limit, allowed, actual, hint) := {"limit": limit, "allowed": allowed, "actual": actual, "hint": hint}

# What must be known before an action can be judged. An action that is not here is never allowed.
required := {
	"token:issue": ["experiment", "grant"],
	"session:open": ["experiment", "grant"],
	"job:estimate": ["experiment", "grant", "shots", "circuit", "backend", "price"],
	"job:submit": ["experiment", "grant", "shots", "circuit", "backend", "price"],
	"result:read": ["experiment", "grant"],
	"backend:list": [],
}

violations contains found("action", null, input.action, "this action is not known to policy") if {
	not required[input.action]
}

violations contains found("facts", fact, null, "this action is decided on this fact") if {
	some fact in required[input.action]
	object.get(input, fact, null) == null
}

tier := data.cryogate_data.tiers[input.agent.tier]

violations contains found("tier", null, input.agent.tier, "an operator must move the agent to a known tier") if {
	not tier
}

is_job if input.action in {"job:submit", "job:estimate"}

# The back ends a question is about: those a grant would name, or the one it would run on.
backends := input.grant.allowed_backends if input.action == "token:issue"

backends := [input.backend.name] if is_job

# A pattern is an exact name, or a prefix and one star; there is no other wildcard.
matches(patterns, name) if {
	"*" in patterns
} else if {
	name in patterns
} else if {
	some pattern in patterns
	endswith(pattern, "*")
	startswith(name, trim_suffix(pattern, "*"))
}

# Rego orders null and booleans before all numbers, so a bare comparison would pass for them. For a
# fact that may be absent:
within(actual, limit) if {
	is_number(actual)
	is_number(limit)
	actual <= limit
}

# For facts that are always numbers the rules write `limit - actual >= 0` instead, at a third of the
# cost: a difference of what is no number is undefined, or an error that ends the whole decision, and
# so is never a yes.
