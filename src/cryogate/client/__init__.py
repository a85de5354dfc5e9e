"""The agent's side: run circuits through a gateway with a key of one's own and no vendor's."""

from cryogate.client.approvals import ApprovalRequest
from cryogate.client.client import Bounds, Client
from cryogate.client.enrolment import Enroller
from cryogate.client.errors import JobEnded, Refused, StillUndecided, Unavailable, WaitExpired
from cryogate.client.identity import Identity, read_credential, write_credential
from cryogate.client.models import Estimate, Job, Result, SessionView
from cryogate.client.operator import Operator
from cryogate.client.provers import CertificateIdentity, FederatedIdentity

__all__ = [
    "ApprovalRequest",
    "Bounds",
    "CertificateIdentity",
    "Client",
    "Enroller",
    "Estimate",
    "FederatedIdentity",
    "Identity",
    "Job",
    "JobEnded",
    "Operator",
    "Refused",
    "Result",
    "SessionView",
    "StillUndecided",
    "Unavailable",
    "WaitExpired",
    "read_credential",
    "write_credential",
]
