"""Pages that need nothing else, for people: of a build, of its cache, of an image's layers; and the same for CI."""
