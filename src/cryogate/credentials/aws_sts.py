"""AWS credentials by AssumeRole, cut down by a session policy to what one lease is for.

(1) The role allows what agents may ever do; the inline session policy, computed for each lease,
    allows one device, one folder of the bucket, and nothing else. AWS takes the intersection, so a
    mistake here cannot widen the role.
(2) Session tags name the experiment, the cost center and the agent: they are in CloudTrail and, by
    `aws:PrincipalTag`, in policies.
(3) STS credentials cannot be recalled. They live in this process's memory alone, for the shortest
    time that STS gives (15 minutes); ending a lease drops them. To be rid of all that a role ever
    gave, deny it what was issued before now (docs/providers/braket.md).
(4) The answer is XML. No XML parser reads it: four fields of known alphabets are looked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode

import httpx
import msgspec

from cryogate.domain.secrets import Secret
from cryogate.outbound.sigv4 import AwsKeys, sign
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import (
    LeaseSource,
    LeaseTerms,
    LeaseUnavailable,
    Minted,
    RootSecrets,
)

_SHORTEST_S: Final = 900
_MAX_ANSWER: Final = 64 << 10
_MAX_POLICY: Final = 2048
_TAG: Final = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")
_FIELDS: Final = {
    "access_key_id": re.compile(r"<AccessKeyId>\s*([A-Z0-9]{16,128})\s*</AccessKeyId>"),
    "secret_access_key": re.compile(
        r"<SecretAccessKey>\s*([A-Za-z0-9/+=]{16,256})\s*</SecretAccessKey>"
    ),
    "session_token": re.compile(r"<SessionToken>\s*([A-Za-z0-9/+=_-]{16,8192})\s*</SessionToken>"),
    "expiration": re.compile(r"<Expiration>\s*([0-9TZ:.+-]{10,40})\s*</Expiration>"),
}


class AwsRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cryogate secret set braket`` takes: who may assume the role, and the role."""

    access_key_id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9]{16,128}\Z")]
    secret_access_key: Annotated[str, msgspec.Meta(min_length=16, max_length=256)]
    role_arn: Annotated[
        str, msgspec.Meta(pattern=r"\Aarn:aws[a-z-]*:iam::[0-9]{12}:role/.{1,512}\Z")
    ]
    external_id: str = ""

    def __repr__(self) -> str:
        return "AwsRoot(…)"


class AwsSts(LeaseSource):
    """``policy`` makes the session policy of a lease's terms and the role's account."""

    def __init__(
        self,
        *,
        secrets: RootSecrets,
        clock: Clock,
        url: str,
        region: str,
        policy: Callable[[LeaseTerms, str], Mapping[str, object]],
        ca_file: str = "",
    ) -> None:
        self._secrets, self._clock = secrets, clock
        self._url, self._region, self._policy = url + "/", region, policy
        self._http = httpx.AsyncClient(
            verify=ca_file or True, trust_env=False, follow_redirects=False, timeout=10.0
        )

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1), (2): temporary credentials for ``terms``."""
        root = await self._root(terms)
        policy = msgspec.json.encode(self._policy(terms, root.role_arn.split(":")[4]))
        if len(policy) > _MAX_POLICY:
            raise LeaseUnavailable("the session policy is longer than AWS takes")
        asked = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": root.role_arn,
            "RoleSessionName": lease_id.replace("_", "-"),
            "DurationSeconds": str(max(ttl_s, _SHORTEST_S)),
            "Policy": policy.decode(),
        }
        if root.external_id:
            asked["ExternalId"] = root.external_id
        tags = {
            "cryogate-experiment": terms.experiment_id,
            "cryogate-cost-center": terms.cost_center,
            "cryogate-agent": terms.agent_id,
        }
        said = [(name, value) for name, value in tags.items() if value]
        for place, (name, value) in enumerate(said, start=1):
            asked[f"Tags.member.{place}.Key"] = name
            asked[f"Tags.member.{place}.Value"] = _TAG.sub("_", value)[:256]
        return self._minted(await self._post(root, urlencode(asked).encode()))

    async def _root(self, terms: LeaseTerms) -> AwsRoot:
        value = await self._secrets.value(terms.scheme, terms.experiment_id)
        try:
            return msgspec.json.decode(value.reveal(), type=AwsRoot)
        except msgspec.MsgspecError:
            # the error's text and chain could hold a piece of the secret
            raise LeaseUnavailable(
                f"the secret for {terms.scheme} is not JSON with access_key_id, "
                "secret_access_key and role_arn"
            ) from None

    async def _post(self, root: AwsRoot, body: bytes) -> str:
        headers = sign(
            AwsKeys(root.access_key_id, Secret(root.secret_access_key.encode())),
            service="sts",
            region=self._region,
            method="POST",
            url=self._url,
            headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8",
                     "accept-encoding": "identity"},
            body=body,
            now_ms=self._clock.now_ms(),
        )  # fmt: skip
        async with self._http.stream("POST", self._url, headers=headers, content=body) as response:
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise LeaseUnavailable("STS sent too much")
        if response.status_code != 200:
            raise LeaseUnavailable(f"STS answered {response.status_code}")
        return data.decode("ascii", "replace")

    def _minted(self, text: str) -> Minted:
        found = {}
        for name, pattern in _FIELDS.items():  # (4)
            match = pattern.findall(text)
            if len(match) != 1:
                raise LeaseUnavailable(f"STS gave no {name}")
            found[name] = match[0]
        expires_ms = int(datetime.fromisoformat(found.pop("expiration")).timestamp() * 1000)
        handle = hashlib.sha256(found["access_key_id"].encode()).hexdigest()[:16]
        return Minted(Secret(msgspec.json.encode(found)), expires_ms, handle)

    async def end(self, handle: str) -> None:
        """(3): there is nothing to tell AWS."""

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()
