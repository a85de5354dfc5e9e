"""Ask for narrow bounds, look before running, and read what a refusal says.

``python examples/bounded.py agent.json my-experiment circuit.qasm``
"""

# ruff: noqa: T201
import sys

from cryogate.client import Client, JobEnded, Refused, Unavailable

agent, experiment, circuit = sys.argv[1:4]

# The token will allow no more than this, so neither can anyone who makes this program misbehave.
client = Client.from_file(
    agent,
    experiment=experiment,
    allowed_backends=["local:aer"],
    max_shots=2000,
    max_jobs=3,
    max_cost_cents=10,
    ttl_s=120,
)

try:
    with client:
        estimate = client.estimate(circuit, shots=2000)
        print(f"{estimate.decision}: at most {estimate.cost_bound_cents} cents")
        job = client.submit(circuit, shots=2000, metadata={"campaign": "first look"})
        client.wait(job.job_id, timeout_s=60, progress=lambda seen: print(seen.state.value))
        print(dict(client.result(job.job_id).counts))
except Refused as refusal:
    print(f"refused ({refusal.code}): {refusal.detail}")
    for broken in refusal.violations:
        print(f"  {broken.limit}: {broken.actual}, allowed {broken.allowed}; {broken.hint}")
    sys.exit(1)
except JobEnded as ended:
    print(f"no result: {ended}")
    sys.exit(1)
except Unavailable as unavailable:
    print(f"try again later: {unavailable}")
    sys.exit(3)
