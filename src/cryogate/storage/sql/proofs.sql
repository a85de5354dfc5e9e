-- Used DPoP proofs of all processes.

-- name: proof_place_insert
INSERT INTO proof_place (only_row, place, sealed, created_ms)
VALUES (1, :place, :sealed, :created_ms) ON CONFLICT (only_row) DO NOTHING

-- name: proof_place
SELECT place, sealed FROM proof_place

-- A database that has forgotten the uses has forgotten its place too, so nothing is inserted.
-- name: proof_use
INSERT INTO proof_uses (digest, expires_ms)
SELECT CAST(:digest AS TEXT), CAST(:expires_ms AS BIGINT) FROM proof_place WHERE place = :place

-- name: proof_sweep
DELETE FROM proof_uses WHERE expires_ms < :before_ms
