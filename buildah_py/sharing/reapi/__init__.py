"""A cache in a server of the Remote Execution API, version 2: its action cache, and its content-addressable storage.

The definitions are those of `build/bazel/remote/execution/v2/remote_execution.proto` and
`google/bytestream/bytestream.proto`. grpcio does the work; nothing of it is imported before a server is asked.
"""
