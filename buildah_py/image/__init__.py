"""The data of the OCI image specification: digests, references, platforms, configs, manifests. No input or output."""
