"""The part of Docker's Engine API that builders need, answered on a socket of this machine for this user alone.

The server itself holds no container and no right that its user has not: what builds, loads, pulls or pushes is a
`pybuild` of its own for each request, which is gone with it. docs/serve.md lists what is answered.
"""
