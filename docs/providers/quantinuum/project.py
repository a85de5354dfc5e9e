"""After ``qnx login``: makes the project for agents' jobs, and writes the gateway's secret.

python project.py agents | cryogate secret set quantinuum
"""

import json
import sys
from pathlib import Path

import qnexus as qnx
from qnexus.client.utils import read_token

project = qnx.projects.get_or_create(name=sys.argv[1])
known = {found.annotations.name for found in qnx.projects.get_properties(project)}
for entry in json.loads((Path(__file__).parent / "properties.json").read_text("utf-8")):
    if entry["name"] not in known:
        qnx.projects.add_property(project=project, **entry)
secret = {"refresh_token": read_token("refresh_token"), "project": str(project.id)}
print(json.dumps(secret))  # noqa: T201
