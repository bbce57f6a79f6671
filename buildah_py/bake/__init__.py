"""Bake files: several builds described in one place, in HCL, JSON, YAML or as a Compose file.

`parser` makes a syntax tree of HCL, `structured` of JSON and YAML; `definition` evaluates it with cty's types and
functions and finds out which targets there are, `compose` reads Compose files, `resolving` says what is built. Nothing
is built here.
"""
