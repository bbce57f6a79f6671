"""Messages of the Remote Execution API and of ByteStream, as far as a cache needs them.

The classes are made from this table when they are first wanted. Generated modules would do the same, but each version
of protoc makes them for some versions of protobuf only, and they put their names into protobuf's one pool, where they
meet those of any other client of this API in the process. Tests hold the table to the generated ones of BuildGrid.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TABLE: Final = """
google.rpc.Status: int32 code 1, string message 2

build.bazel.semver.SemVer: int32 major 1, int32 minor 2, int32 patch 3

build.bazel.remote.execution.v2.Digest: string hash 1, int64 size_bytes 2
build.bazel.remote.execution.v2.Command: repeated string arguments 1, repeated string output_paths 7
build.bazel.remote.execution.v2.Action: Digest command_digest 1, Digest input_root_digest 2, bytes salt 9
build.bazel.remote.execution.v2.OutputFile: string path 1, Digest digest 2
build.bazel.remote.execution.v2.ActionResult: repeated OutputFile output_files 2, int32 exit_code 4
build.bazel.remote.execution.v2.GetActionResultRequest: string instance_name 1, Digest action_digest 2
build.bazel.remote.execution.v2.UpdateActionResultRequest: string instance_name 1, Digest action_digest 2, \
ActionResult action_result 3
build.bazel.remote.execution.v2.FindMissingBlobsRequest: string instance_name 1, repeated Digest blob_digests 2
build.bazel.remote.execution.v2.FindMissingBlobsResponse: repeated Digest missing_blob_digests 2
build.bazel.remote.execution.v2.BatchUpdateBlobsRequest.Request: Digest digest 1, bytes data 2
build.bazel.remote.execution.v2.BatchUpdateBlobsRequest: string instance_name 1, \
repeated BatchUpdateBlobsRequest.Request requests 2
build.bazel.remote.execution.v2.BatchUpdateBlobsResponse.Response: Digest digest 1, google.rpc.Status status 2
build.bazel.remote.execution.v2.BatchUpdateBlobsResponse: repeated BatchUpdateBlobsResponse.Response responses 1
build.bazel.remote.execution.v2.BatchReadBlobsRequest: string instance_name 1, repeated Digest digests 2
build.bazel.remote.execution.v2.BatchReadBlobsResponse.Response: Digest digest 1, bytes data 2, \
google.rpc.Status status 3, int32 compressor 4
build.bazel.remote.execution.v2.BatchReadBlobsResponse: repeated BatchReadBlobsResponse.Response responses 1
build.bazel.remote.execution.v2.GetCapabilitiesRequest: string instance_name 1
build.bazel.remote.execution.v2.ActionCacheUpdateCapabilities: bool update_enabled 1
build.bazel.remote.execution.v2.CacheCapabilities: repeated int32 digest_functions 1, \
ActionCacheUpdateCapabilities action_cache_update_capabilities 2, int64 max_batch_total_size_bytes 4, \
repeated int32 supported_compressors 6
build.bazel.remote.execution.v2.ServerCapabilities: CacheCapabilities cache_capabilities 1, \
build.bazel.semver.SemVer low_api_version 4, build.bazel.semver.SemVer high_api_version 5
build.bazel.remote.execution.v2.ToolDetails: string tool_name 1, string tool_version 2
build.bazel.remote.execution.v2.RequestMetadata: ToolDetails tool_details 1

google.bytestream.ReadRequest: string resource_name 1, int64 read_offset 2
google.bytestream.ReadResponse: bytes data 10
google.bytestream.WriteRequest: string resource_name 1, int64 write_offset 2, bool finish_write 3, bytes data 10
google.bytestream.WriteResponse: int64 committed_size 1
google.bytestream.QueryWriteStatusRequest: string resource_name 1
google.bytestream.QueryWriteStatusResponse: int64 committed_size 1, bool complete 2
"""
"""A message a line, its fields with type, name and number. Enumerations are numbers, which is how they are sent."""

SHA256: Final = 1
"""DigestFunction.SHA256."""
IDENTITY: Final = 0
"""Compressor.IDENTITY."""
ZSTD: Final = 1
"""Compressor.ZSTD."""

_V2: Final = "build.bazel.remote.execution.v2"


class Field(NamedTuple):
    """A field of a message; `type` is a scalar's name, or the full name of a message."""

    type: str
    name: str
    number: int
    repeated: bool


class Method(NamedTuple):
    """A method of a service: its path, and the messages that it takes and gives, by their names in `classes()`."""

    path: str
    request: str
    answer: str

    @property
    def name(self) -> str:
        """Name in messages to people."""
        return self.path.rpartition(".")[2].replace("/", ".")


def _method(service: str, name: str, answer: str = "") -> Method:
    return Method(f"/{service}/{name}", f"{name}Request", answer or f"{name}Response")


_CAS: Final = f"{_V2}.ContentAddressableStorage"
CAPABILITIES: Final = _method(f"{_V2}.Capabilities", "GetCapabilities", "ServerCapabilities")
GET_RESULT: Final = _method(f"{_V2}.ActionCache", "GetActionResult", "ActionResult")
UPDATE_RESULT: Final = _method(f"{_V2}.ActionCache", "UpdateActionResult", "ActionResult")
FIND_MISSING: Final = _method(_CAS, "FindMissingBlobs")
BATCH_UPDATE: Final = _method(_CAS, "BatchUpdateBlobs")
BATCH_READ: Final = _method(_CAS, "BatchReadBlobs")
READ: Final = _method("google.bytestream.ByteStream", "Read")
WRITE: Final = _method("google.bytestream.ByteStream", "Write")
WRITE_STATUS: Final = _method("google.bytestream.ByteStream", "QueryWriteStatus")


def table() -> Iterator[tuple[str, list[Field]]]:
    """Give the messages, by full name, each after those that it holds."""
    for line in filter(None, _TABLE.splitlines()):
        name, _, fields = line.partition(": ")
        yield name, [_field(name, text.split()) for text in fields.split(", ")]


def _field(message: str, words: list[str]) -> Field:
    *repeated, kind, name, number = words
    if kind[0].isupper():
        kind = f"{_package(message)}.{kind}"
    return Field(kind, name, int(number), bool(repeated))


def _package(name: str) -> str:
    return ".".join(part for part in name.split(".") if part[0].islower())


@functools.cache
def classes() -> Mapping[str, Any]:
    """Make the classes of messages: by name, without its package."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.DescriptorPool()
    names: dict[str, str] = {}
    for name, fields in table():
        package = _package(name)
        short = name.removeprefix(f"{package}.").replace(".", "_")  # how one lies in another is not sent
        file = descriptor_pb2.FileDescriptorProto(
            name=name, package=package, syntax="proto3", dependency=sorted({one.type for one in fields} & names.keys())
        )
        made = file.message_type.add(name=short)
        for one in fields:
            added = made.field.add(name=one.name, number=one.number)
            added.label = kinds.LABEL_REPEATED if one.repeated else kinds.LABEL_OPTIONAL
            if one.type in names:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".{names[one.type]}"
            else:
                added.type = getattr(kinds, f"TYPE_{one.type.upper()}")
        pool.AddSerializedFile(file.SerializeToString())
        names[name] = f"{package}.{short}"
    return {
        full.rpartition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(full))
        for full in names.values()
    }
