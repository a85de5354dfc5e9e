-- Read every few seconds where TLS is served: only the few rows that are certificates.
CREATE INDEX client_keys_certificates ON client_keys (kid) WHERE kind = 'certificate';
