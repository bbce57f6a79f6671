"""A Dask cluster that executes the steps of a bake: what is sent there, what comes back, and what is believed of it."""
