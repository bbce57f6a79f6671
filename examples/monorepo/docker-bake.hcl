# Forty images in four kinds: a base, 3 runtimes on it, 3 libraries on each of these, 3 services on each of those.
# `pybuild bake` builds all of them, `pybuild bake 'service-go-*'` some; PAUSE makes the steps take as long as real ones.
variable "PAUSE" {
  type        = number
  default     = 0
  description = "seconds that a unit of work takes"
}

group "default" {
  targets = ["base", "runtime", "library", "service"]
}

target "_common" {
  args = { PAUSE = PAUSE }
}

target "base" {
  inherits   = ["_common"]
  dockerfile = "base.Buildfile"
  tags       = ["monorepo/base"]
}

target "runtime" {
  name       = "runtime-${language}"
  matrix     = { language = ["go", "node", "python"] }
  inherits   = ["_common"]
  dockerfile = "runtime.Buildfile"
  contexts   = { base = "target:base" }
  args       = { LANGUAGE = language, PAUSE = language == "node" ? 3 * PAUSE : PAUSE }
  tags       = ["monorepo/runtime-${language}"]
}

target "library" {
  name       = "library-${language}-${library}"
  matrix     = { language = ["go", "node", "python"], library = ["auth", "data", "web"] }
  inherits   = ["_common"]
  dockerfile = "library.Buildfile"
  contexts   = { runtime = "target:runtime-${language}" }
  args       = { LIBRARY = library }
  tags       = ["monorepo/library-${language}-${library}"]
}

target "service" {
  name = "service-${language}-${library}-${service}"
  matrix = {
    language = ["go", "node", "python"]
    library  = ["auth", "data", "web"]
    service  = ["admin", "api", "jobs"]
  }
  inherits   = ["_common"]
  dockerfile = "service.Buildfile"
  contexts   = { library = "target:library-${language}-${library}" }
  args       = { SERVICE = service, PAUSE = service == "api" ? 2 * PAUSE : PAUSE }
  tags       = ["monorepo/service-${language}-${library}-${service}"]
}
