"""ADD from the network: a file from a web server or a git repository, as something to select from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py import meter
from buildah_py.buildfile.remote import kind_of
from buildah_py.copy.select import select_path
from buildah_py.sources import git, git_url, http
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from buildah_py.copy.selection import Selection
    from buildah_py.plan.steps import CopyStep
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store


def fetch(store: Store, reach: Reach, step: CopyStep, url: str) -> tuple[Selection, str]:
    """Fetch what an ADD names, or find it unchanged in the store. Raises SourceError, NotFound.

    Gives it with what stands for it in the key where its content differs each time, else "".
    """
    shown = redact(url)
    if kind_of(url) == "http":
        there, checksum = reach.http(url, step.checksum)
        fetched = http.fetch(there, store.path("fetched"), reach, checksum=checksum)
        reach.used(there, fetched.digest)
        fetched = fetched._replace(name=http.name_of(url))
        return select_path(fetched.tree(), fetched.name, where=shown), ""
    url = reach.git(url)
    source = git_url.parse(url)
    if step.checksum:
        source = source._replace(commit=step.checksum)
    destination = os.path.join(store.stage(), "checkout")
    os.mkdir(destination)
    with meter.start(f"fetching {shown}", waits=True):
        checkout = git.checkout(
            source,
            store.path("git"),
            destination,
            keep_git_dir=step.keep_git_dir,
            authorization=git.authorization_from(reach.secret, source.remote),
            lock=lambda name: store.lock(f"git {name}", reach.cancelled),
            local_redirects=reach.local_redirects,
            agent=reach.agent,
            cancelled=reach.cancelled,
        )
    reach.used(url, checkout.commit)
    tree = DirectoryContext(checkout.path, name=shown)
    # The files that git keeps for itself hold times of this checkout.
    identity = f"git {checkout.commit} {source.subdir}" if step.keep_git_dir or source.keep_git_dir else ""
    return select_path(tree, "", where=shown), identity
