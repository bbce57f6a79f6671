"""Bake files: several builds described in one place, in HCL, JSON, YAML or as a Compose file.

`hcl` text becomes a syntax tree, which is evaluated with cty's types and functions; `definition` finds out which targets
there are, `compose` and `yaml_file` read the other forms, `plan` puts them together. Nothing is built here.
"""
