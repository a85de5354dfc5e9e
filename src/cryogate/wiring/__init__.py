"""The composition root: the only package that knows every part."""

from cryogate.wiring.deployment import Deployment

__all__ = ["Deployment"]
