"""HTTP: routes, authentication of requests, problem documents, lifespan."""
