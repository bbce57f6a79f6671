"""Functions of bake files: buildx's standard library (docker/buildx docs/bake-stdlib.md), most of which is cty's."""
