# Two images that share a stage, and one in two variants: `pybuild bake`, or `pybuild bake --print`.
variable "TAG" {
  default     = "latest"
  description = "tag of all images"
  validation {
    condition     = TAG != ""
    error_message = "a tag is needed"
  }
}

group "default" {
  targets = ["app", "greeting"]
}

target "_common" {
  dockerfile = "Buildfile"
  labels = {
    "org.opencontainers.image.version" = TAG
  }
}

target "app" {
  inherits = ["_common"]
  target   = "app"
  tags     = ["app:${TAG}"]
}

target "greeting" {
  name       = "greeting-${language}"
  matrix     = { language = ["en", "de"] }
  inherits   = ["_common"]
  target     = "greeting"
  contexts   = { app = "target:app" }
  args       = { WORD = language == "de" ? "hallo" : "hello" }
  tags       = ["greeting:${TAG}-${language}"]
}
