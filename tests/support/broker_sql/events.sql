-- name: broker_test_events
SELECT body FROM events WHERE action = :action ORDER BY event_id
