"""Runs in an environment of its own (`.ci/rocrate`): validates a crate with rocrate-validator.

    python validate.py DIRECTORY PROFILE SEVERITY [inherit]

Prints the issues as JSON. Nothing is fetched: the RO-Crate 1.2 context is the file that lies in the
environment, any other address is unreachable.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from rocrate_validator import models, services

CONTEXT = Path(sys.prefix) / "context-1.2.json"


def local(self: HTTPAdapter, request: Any, **_: Any) -> requests.Response:
    if request.url != "https://w3id.org/ro/crate/1.2/context":
        raise requests.ConnectionError(f"{request.url} is not here")
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = 200, request.url, request
    answer.headers["content-type"] = "application/ld+json"
    answer._content = CONTEXT.read_bytes()
    return answer


def main(directory: str, profile: str, severity: str, inherit: str = "") -> None:
    HTTPAdapter.send = local  # type: ignore[method-assign,assignment]
    settings = services.ValidationSettings(
        rocrate_uri=directory,
        profile_identifier=profile,
        enable_profile_inheritance=bool(inherit),
        requirement_severity=models.Severity[severity],
        no_cache=True,
    )
    result = services.validate(settings)
    issues = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
    sys.stdout.write(json.dumps({"passed": result.passed(), "issues": issues}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
