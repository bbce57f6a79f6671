"""The model of docs/scaling.md, and a simulation that it is held to; `python -m tests.scaling` prints both."""
