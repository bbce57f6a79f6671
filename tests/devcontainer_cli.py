"""A stand-in for `devcontainer build`, where the devcontainer CLI is not installed: it calls what the CLI calls.

The calls, their order and the build files are those that @devcontainers/cli 0.89.0 was seen to make for a Dockerfile
with one local feature; of what pybuild answers, it looks at what the CLI looks at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

FEATURE = "/tmp/dev-container-features"
WITH_FEATURES = f"""
ARG _DEV_CONTAINERS_BASE_IMAGE=scratch
{{text}}

FROM dev_container_feature_content_temp as dev_containers_feature_content_source
ARG _DEV_CONTAINERS_BASE_IMAGE=scratch
FROM $_DEV_CONTAINERS_BASE_IMAGE AS dev_containers_feature_content_normalize
USER root
COPY --from=dev_containers_feature_content_source /tmp/build-features/builtin.env /tmp/build-features/
RUN chmod -R 0755 /tmp/build-features/

FROM $_DEV_CONTAINERS_BASE_IMAGE AS dev_containers_target_stage
USER root
RUN mkdir -p {FEATURE}
COPY --from=dev_containers_feature_content_normalize /tmp/build-features/ {FEATURE}
COPY --chown=root:root --from=dev_containers_feature_content_source /tmp/build-features/{{name}}_0 {FEATURE}/{{name}}_0
RUN chmod -R 0755 {FEATURE}/{{name}}_0 \\
&& cd {FEATURE}/{{name}}_0 \\
&& chmod +x ./devcontainer-features-install.sh \\
&& ./devcontainer-features-install.sh

ARG _DEV_CONTAINERS_IMAGE_USER=root
USER $_DEV_CONTAINERS_IMAGE_USER
LABEL devcontainer.metadata="[ \\
{{{{\\"id\\":\\"./{{name}}\\"}}}}, \\
{{{{\\"remoteUser\\":\\"{{user}}\\"}}}} \\
]"
"""


def main() -> None:
    """Build the devcontainer of a directory, and print the CLI's last line."""
    parser = ArgumentParser()
    parser.add_argument("command", choices=["build"])
    for option in ("--workspace-folder", "--docker-path", "--image-name"):
        parser.add_argument(option, required=True)
    args = parser.parse_args()

    def docker(*words: str) -> str:
        return subprocess.run([args.docker_path, *words], check=True, stdout=subprocess.PIPE, text=True).stdout

    place = Path(args.workspace_folder).resolve() / ".devcontainer"
    config = json.loads((place / "devcontainer.json").read_text())
    (feature, options), user = next(iter(config["features"].items())), config["remoteUser"]
    for words in (["buildx", "version"], ["-v"], ["version", "--format", "{{.Server.Version}}"]):
        assert re.search(r"\d+\.\d+\.\d+", docker(*words))
    text = (place / config["build"]["dockerfile"]).read_text()
    base = text.split()[1]
    (image,) = json.loads(docker("inspect", "--type", "image", base))
    image_user = image["Config"]["User"] or "root"
    assert image["Config"]["Labels"] is None
    with tempfile.TemporaryDirectory() as own:
        copied = Path(own) / f"{feature[2:]}_0"
        copied.mkdir()
        (copied / "install.sh").write_text((place / feature / "install.sh").read_text())
        (copied / "install.sh").chmod(0o755)
        values = "".join(f'{name.upper()}="{value}"\n' for name, value in options.items())
        (copied / "devcontainer-features.env").write_text(values)
        (copied / "devcontainer-features-install.sh").write_text(
            "#!/bin/sh\nset -ea\n. ../builtin.env\n. ./devcontainer-features.env\nset +a\n./install.sh\n"
        )
        (Path(own) / "builtin.env").write_text(f"_CONTAINER_USER={image_user}\n_REMOTE_USER={user}\n")
        content, extended = f"{own}/Dockerfile.buildContent", f"{own}/Dockerfile-with-features"
        Path(content).write_text("\tFROM scratch\n\tCOPY . /tmp/build-features/\n\t")
        text = text.replace(base, f"{base} AS dev_container_auto_added_stage_label", 1)
        Path(extended).write_text(WITH_FEATURES.format(text=text, name=feature[2:], user=user))
        docker("build", "-t", "dev_container_feature_content_temp", "-f", content, own)
        given = {
            "_DEV_CONTAINERS_BASE_IMAGE": "dev_container_auto_added_stage_label",
            "_DEV_CONTAINERS_IMAGE_USER": image_user,
            "_DEV_CONTAINERS_FEATURE_CONTENT_SOURCE": "dev_container_feature_content_temp",
        }
        docker(
            "buildx", "build", "--load", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "-f", extended,
            "-t", args.image_name, "--target", "dev_containers_target_stage",
            *(word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")),
            str(place / config["build"]["context"]),
        )  # fmt: skip
    sys.stdout.write(json.dumps({"outcome": "success", "imageName": [args.image_name]}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
