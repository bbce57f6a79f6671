"""Registries: pull and push by the distribution specification. Synchronous, safe for threads, knows no store.

`Registry` is the door; errors are RegistryErrors that name the registry and the reference.
"""

from __future__ import annotations

from buildah_py.registry.client import Registry
from buildah_py.registry.manifests import RawManifest
from buildah_py.registry.options import Credentials, RegistryOptions

__all__ = ["Credentials", "RawManifest", "Registry", "RegistryOptions"]
