"""Every fake vendor, with what leads a server to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from cryogate.dev import google
from cryogate.dev.aws import ACCOUNT
from cryogate.dev.azure import CLIENT, PLACE, TENANT, AzureFake
from cryogate.dev.braket import BUCKET, BraketFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.ionq import IonqFake
from cryogate.dev.nexus_door import PROJECT
from cryogate.dev.quantinuum import QuantinuumFake


@dataclass(frozen=True, slots=True)
class Vendor:
    """A fake on a port. ``settings`` is a piece of TOML; ``secret`` is for ``secret set``."""

    scheme: str
    port: int
    url: str
    secret: str = field(repr=False)
    settings: str
    app: ASGIApp


def vendors(port: int, polls: int) -> list[Vendor]:
    """All of them, on ports from ``port`` on."""
    ionq = IonqFake(polls=polls)
    url = f"http://127.0.0.1:{port}/v0.4"
    braket, aws = BraketFake(polls=polls), f"http://127.0.0.1:{port + 1}"
    ibm, api = IbmFake(polls=polls), f"http://127.0.0.1:{port + 2}"
    azure, place = AzureFake(polls=polls), f"http://127.0.0.1:{port + 3}"
    nexus, door = QuantinuumFake(polls=polls), f"http://127.0.0.1:{port + 4}"
    engine, cloud = google.GoogleFake(polls=polls), f"http://127.0.0.1:{port + 5}"
    login = {"refresh_token": nexus.door.refresh_token, "project": PROJECT}
    app = {"tenant": TENANT, "client_id": CLIENT, "client_secret": azure.secret}
    root = braket.accounts.root
    keys = {
        "access_key_id": root.key_id, "secret_access_key": root.secret,
        "role_arn": f"arn:aws:iam::{ACCOUNT}:role/cryogate-braket",
    }  # fmt: skip
    places = "\n".join(f'{name} = "{aws}"' for name in ("url", "s3_url", "sts_url"))
    return [
        Vendor("ionq", port, url, ionq.key, f'url = "{url}"', ionq.app),
        Vendor("braket", port + 1, aws, json.dumps(keys), f'bucket = "{BUCKET}"\n{places}',
               braket.app),
        Vendor("ibm", port + 2, api, json.dumps({"api_key": ibm.key, "crn": CRN}),
               f'url = "{api}/api/v1"\niam_url = "{api}"', ibm.app),
        Vendor("azure", port + 3, place, json.dumps(app), _workspace(place), azure.app),
        Vendor("quantinuum", port + 4, door, json.dumps(login), f'url = "{door}"', nexus.app),
        Vendor("google", port + 5, cloud, json.dumps(engine.key_file()),
               f'project = "{google.PROJECT}"\nurl = "{cloud}"\ntoken_url = "{cloud}/token"',
               engine.app),
    ]  # fmt: skip


def _workspace(url: str) -> str:
    words = PLACE.split("/")
    return (
        f'url = "{url}"\nlogin_url = "{url}"\nstorage_suffix = "127.0.0.1"\n'
        f'subscription = "{words[2]}"\nresource_group = "{words[4]}"\nworkspace = "{words[8]}"'
    )
