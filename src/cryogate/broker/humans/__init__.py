"""How people prove who they are: local passwords, an identity provider, and sessions."""
