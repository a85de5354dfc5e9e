-- name: open_session
INSERT INTO sessions (session_id, token_id, agent_id, experiment_id, backends, max_jobs, used_jobs,
                      opened_ms, expires_ms, state, results)
VALUES (:session_id, :token_id, :agent_id, :experiment_id, :backends, :max_jobs, 0,
        :now_ms, :expires_ms, 'open', :results)

-- name: session_by_id
SELECT session_id, token_id, agent_id, experiment_id, backends, max_jobs, used_jobs, opened_ms,
       expires_ms, state, results
FROM sessions WHERE session_id = :session_id

-- name: close_session
UPDATE sessions SET state = 'closed'
WHERE session_id = :session_id AND agent_id = :agent_id AND experiment_id = :experiment_id

-- name: sessions_for_operator
SELECT session_id, token_id, agent_id, experiment_id, backends, max_jobs, used_jobs, opened_ms,
       expires_ms, state, results
FROM sessions
WHERE opened_ms < :before_ms OR (opened_ms = :before_ms AND session_id < :before_id)
ORDER BY opened_ms DESC, session_id DESC
LIMIT :limit
