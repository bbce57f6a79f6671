"""HTTP for whatever talks to other machines: registries, shared caches, ADD, Docker's socket.

`client.Client` is the door. One request is one call; `retry.Retries` says which failures are worth another one, and
`redirects` where an answer may lead. Nothing here imports urllib3 or ssl before a request is made.
"""
