"""The checks by name: what each is about, and where it is explained."""

from __future__ import annotations

from typing import NamedTuple

_URL = "https://docs.docker.com/go/dockerfile/rule/"
_OWN_URL = "docs/language.md#"


class CheckRule(NamedTuple):
    """A check. `own` ones are pybuild's and not subject to `error=true`; `experimental` ones have to be asked for.

    A build warns of what `told` ones find, as of all that are not `own`.
    """

    name: str
    description: str
    url: str
    experimental: bool = False
    own: bool = False
    told: bool = False


def _rule(name: str, page: str, description: str, *, experimental: bool = False) -> CheckRule:
    return CheckRule(name, description, f"{_URL}{page}/" if page else "", experimental)


_ALL = (
    _rule("StageNameCasing", "stage-name-casing", "names of stages are written in lower case"),
    _rule("FromAsCasing", "from-as-casing", "AS is written in the same case as its FROM"),
    _rule("NoEmptyContinuation", "no-empty-continuation", "a continued instruction has no empty lines"),
    _rule(
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "all keywords are in upper case, or all in lower case",
    ),
    _rule("DuplicateStageName", "duplicate-stage-name", "no two stages have the same name"),
    _rule("ReservedStageName", "reserved-stage-name", "no stage is called scratch or context"),
    _rule(
        "JSONArgsRecommended", "json-args-recommended", "CMD and ENTRYPOINT are in exec form, so that signals arrive"
    ),
    _rule("MaintainerDeprecated", "maintainer-deprecated", "MAINTAINER is deprecated in favour of a label"),
    _rule("UndefinedArgInFrom", "undefined-arg-in-from", "variables in FROM are declared by an ARG before it"),
    _rule("WorkdirRelativePath", "workdir-relative-path", "the first WORKDIR of a stage is absolute"),
    _rule("UndefinedVar", "undefined-var", "variables are defined before they are used"),
    _rule(
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "CMD, ENTRYPOINT and HEALTHCHECK occur once in a stage",
    ),
    _rule("LegacyKeyValueFormat", "legacy-key-value-format", "ENV and LABEL are written with ="),
    _rule("InvalidBaseImagePlatform", "", "a base image is of the platform that was asked for"),
    _rule("RedundantTargetPlatform", "redundant-target-platform", "FROM --platform=$TARGETPLATFORM says nothing"),
    _rule("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env", "ARG and ENV hold no secrets"),
    _rule(
        "InvalidDefaultArgInFrom", "invalid-default-arg-in-from", "the defaults of global ARGs give a valid base image"
    ),
    _rule(
        "FromPlatformFlagConstDisallowed", "from-platform-flag-const-disallowed", "FROM --platform is not a constant"
    ),
    _rule("CopyIgnoredFile", "copy-ignored-file", "what is copied is not ignored"),
    _rule(
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "the comment above a stage or ARG begins with its name",
        experimental=True,
    ),
    _rule("ExposeProtoCasing", "expose-proto-casing", "protocols in EXPOSE are in lower case"),
    _rule("ExposeInvalidFormat", "expose-invalid-format", "EXPOSE names no address and no port of the host"),
)

_OWN = (
    CheckRule(
        "PybuildHeredocErrexit",
        "a failing line of a RUN heredoc fails the step",
        f"{_OWN_URL}pybuildheredocerrexit",
        own=True,
    ),
    CheckRule("PybuildSecretValue", "no value looks like a credential", f"{_OWN_URL}pybuildsecretvalue", own=True),
    CheckRule(
        "PybuildCopyBeforeInstall",
        "the whole context is copied after the dependencies are installed",
        f"{_OWN_URL}pybuildcopybeforeinstall",
        own=True,
    ),
    CheckRule(
        "PybuildAptLeftovers", "apt-get leaves no package lists behind", f"{_OWN_URL}pybuildaptleftovers", own=True
    ),
    CheckRule(
        "PybuildForeignSyntax",
        "the front end that `# syntax=` names is the one that reads the file",
        f"{_OWN_URL}pybuildforeignsyntax",
        own=True,
    ),
    CheckRule(
        "PybuildJSONArgs",
        "a RUN that looks like a JSON array is one",
        f"{_OWN_URL}pybuildjsonargs",
        own=True,
        told=True,
    ),
    CheckRule(
        "PybuildGlobalArg",
        "a stage declares the global ARGs that it uses",
        f"{_OWN_URL}pybuildglobalarg",
        own=True,
        told=True,
    ),
    CheckRule("PybuildUnpinnedBase", "a base image has a tag or digest", f"{_OWN_URL}pybuildunpinnedbase", own=True),
)

RULES: dict[str, CheckRule] = {rule.name: rule for rule in _ALL + _OWN}
"""All checks by name."""
