"""Projects for observe.py: how a context comes about, what is built of it, and which line changes afterwards."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

FILES = 300
"""Source files of each project, beside those that it names itself."""


class Project(NamedTuple):
    """A project: files by path, beside those of `seed`, a directory in the image of the tools.

    The last line of `file`, behind `COPY . .`, is the step in question. `edited` is the file that changes.
    `limit` says why the step cannot hit. With `network` it fetches what it installs.
    """

    name: str
    file: str
    edited: str
    files: dict[str, str] = {}  # noqa: RUF012 (never changed)
    seed: str = ""
    sources: str = "src/modules/%s.js"
    limit: str = ""
    network: bool = False

    def text(self, base: str) -> str:
        """Give the build file."""
        return f"FROM {base}\nWORKDIR /app\nCOPY . .\n{dedent(self.file).strip()}\n"

    def make(self, context: Path) -> None:
        """Write what no seed brings."""
        found = {
            "README.md": f"# {self.name}\n",
            ".gitignore": "node_modules\n__pycache__\n",
            ".git/HEAD": "ref: refs/heads/main\n",
            ".git/config": "[core]\n\trepositoryformatversion = 0\n",
            ".github/workflows/ci.yml": "on: push\n",
            "docs/index.md": "# Docs\n",
        }
        found |= {self.sources % f"part{number % 20:02d}/m{number:03d}": f"{number}\n" for number in range(FILES)}
        for path, text in (found | self.files).items():
            place = context / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(dedent(text))
        place = context / self.edited
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


_JS = "src/modules/part03/m003.js"
_PY = "src/shop/part03/m003.py"
_PYTHON = "src/shop/%s.py"
_REQUIREMENTS = "django\nflask\nnumpy\nrequests\nsqlalchemy\n"

_JAVASCRIPT = (
    Project("npm ci", "RUN npm ci", _JS, seed="npm"),
    Project("npm ci, then a script", "RUN npm ci --ignore-scripts && npm ls >/dev/null", _JS, seed="npm"),
    Project("npm install", "RUN npm install", _JS, seed="npm"),
    Project("npm ci --omit=dev", "RUN npm ci --omit=dev", _JS, seed="npm"),
    Project("yarn", "RUN yarn install --offline --frozen-lockfile", _JS, seed="yarn"),
    Project("pnpm", "RUN pnpm install --frozen-lockfile --offline", _JS, seed="pnpm"),
    Project(
        "npm workspaces",
        "RUN npm ci",
        "packages/web/src/index.js",
        {f"packages/{name}/src/index.js": "module.exports = 1\n" for name in ("core", "web", "api")},
        seed="workspaces",
    ),
    Project(
        "tsc of one workspace",
        "RUN npm ci && npx tsc -p packages/core",
        "packages/web/src/index.ts",
        {
            "packages/core/tsconfig.json": '{"compilerOptions": {"outDir": "dist", "types": []}, "include": ["src"]}\n',
            "packages/core/src/index.ts": "export const one: number = 1\n",
            "packages/web/src/index.ts": "import { one } from '@all/core'\n",
        },
        seed="workspaces",
    ),
    Project(
        "sass",
        "RUN npm ci && npx sass styles:public/css",
        _JS,
        {
            "styles/main.scss": "@use 'colours';\nbody { color: colours.$ink; }\n",
            "styles/_colours.scss": "$ink: #111;\n",
        },
        seed="npm",
    ),
    Project(
        "esbuild of the client",
        "RUN npm ci && npx esbuild client/index.jsx --bundle --outfile=public/app.js",
        "server/index.js",
        {"client/index.jsx": "import React from 'react'\nconsole.log(<p/>)\n", "server/index.js": "const a = 1\n"},
        seed="npm",
    ),
    Project(
        "webpack of the client",
        "RUN npm ci && node webpack.js",
        "server/index.js",
        {
            "webpack.js": "require('webpack')({mode: 'production', entry: './client/index.js'}, "
            "(error, stats) => process.exit(error || stats.hasErrors() ? 1 : 0))\n",
            "client/index.js": "import React from 'react'\nconsole.log(React)\n",
        },
        seed="npm",
    ),
)

_DJANGO = {
    "manage.py": """\
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
        """,
    "site_/__init__.py": "",
    "site_/settings.py": """\
        SECRET_KEY = "none"
        INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                          "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles", "shop"]
        STATIC_URL = "static/"
        STATIC_ROOT = "/srv/static"
        ROOT_URLCONF = "site_.urls"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db"}}
        """,
    "site_/urls.py": "from shop import views\nurlpatterns = []\n",
    "shop/__init__.py": "",
    "shop/models.py": "from django.db import models\n\n\nclass Item(models.Model):\n    name = models.TextField()\n",
    "shop/views.py": "def index(request):\n    return None\n",
    "shop/static/shop/app.css": "body {}\n",
    "requirements.txt": _REQUIREMENTS,
}
_ALEMBIC = {
    "alembic.ini": "[alembic]\nscript_location = migrations\nsqlalchemy.url = sqlite:////srv/db\n",
    "migrations/env.py": """\
        from alembic import context
        from sqlalchemy import create_engine
        from shop.models import metadata
        with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
            context.configure(connection=connection, target_metadata=metadata)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "migrations/versions/0001_items.py": """\
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "0001", None
        def upgrade():
            op.create_table("items", sa.Column("id", sa.Integer, primary_key=True))
        """,
    "shop/__init__.py": "",
    "shop/models.py": "from sqlalchemy import MetaData\nmetadata = MetaData()\n",
    "shop/views.py": "def index():\n    return None\n",
    "requirements.txt": _REQUIREMENTS + "alembic\n",
}
_PACKAGE = """\
    [project]
    name = "shop"
    version = "1.0.0"
    dependencies = ["django", "requests"]

    [build-system]
    requires = ["%s"]
    build-backend = "%s"
    """
_PYTHONS = (
    Project(
        "pip -r",
        "RUN pip install --no-index -f /opt/wheels -r requirements.txt",
        _PY,
        {"requirements.txt": _REQUIREMENTS},
        sources=_PYTHON,
    ),
    Project(
        "pip -r, nested, in a venv",
        "RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-index -f /opt/wheels -r requirements/prod.txt",
        _PY,
        {
            "requirements/base.txt": _REQUIREMENTS,
            "requirements/prod.txt": "-r base.txt\n-c limits.txt\nalembic\n",
            "requirements/limits.txt": "django>1\n",
        },
        sources=_PYTHON,
    ),
    Project(
        "pip -e with setuptools",
        "RUN pip install --no-index -f /opt/wheels -e .",
        _PY,
        {"pyproject.toml": _PACKAGE % ("setuptools", "setuptools.build_meta"), "src/shop/__init__.py": ""},
        sources=_PYTHON,
        limit="setuptools asks whether each source is a file by stat(2), which tells its size",
    ),
    Project("poetry --no-root", "RUN poetry install --no-root", _PY, seed="poetry", sources=_PYTHON, network=True),
    Project("uv sync --frozen", "RUN uv sync --offline --frozen --no-install-project", _PY, seed="uv", sources=_PYTHON),
    Project(
        "uv pip",
        "RUN uv venv && uv pip install --no-index -f /opt/wheels -r requirements.txt",
        _PY,
        {"requirements.txt": _REQUIREMENTS},
        sources=_PYTHON,
    ),
    Project("pipenv", "RUN pipenv sync", _PY, seed="pipenv", sources=_PYTHON, network=True),
    Project(
        "django collectstatic",
        """
        RUN pip install --no-index -f /opt/wheels -r requirements.txt
        RUN python3 manage.py collectstatic --noinput
        """,
        "shop/views.py",
        _DJANGO,
        sources=_PYTHON,
    ),
    Project(
        "django migrate",
        """
        RUN pip install --no-index -f /opt/wheels -r requirements.txt
        RUN python3 manage.py migrate --skip-checks
        """,
        "shop/views.py",
        _DJANGO,
        sources=_PYTHON,
    ),
    Project(
        "alembic upgrade",
        """
        RUN pip install --no-index -f /opt/wheels -r requirements.txt
        RUN PYTHONPATH=. alembic upgrade head
        """,
        "shop/views.py",
        _ALEMBIC,
        sources=_PYTHON,
    ),
    Project(
        "sphinx",
        """
        RUN pip install --no-index -f /opt/wheels sphinx
        RUN sphinx-build -q docs /srv/docs
        """,
        _PY,
        {"docs/conf.py": "project = 'shop'\n", "docs/index.rst": "Shop\n====\n"},
        sources=_PYTHON,
    ),
    Project(
        "protoc",
        "RUN protoc -I proto --python_out=src/shop proto/*.proto",
        _PY,
        {"proto/item.proto": 'syntax = "proto3";\nmessage Item { string name = 1; }\n'},
        sources=_PYTHON,
    ),
)

_CARGO = {
    "src/main.rs": "mod routes;\nfn main() { routes::run() }\n",
    "src/routes.rs": 'pub fn run() { println!("hello") }\n',
}
_MEMBER = '[package]\nname = "%s"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\n%s\n'
_RUST = (
    Project("cargo fetch --locked", "RUN cargo fetch --locked", "src/routes.rs", _CARGO, "cargo", "src/parts/%s.rs"),
    Project(
        "cargo build of one member",
        "RUN cargo build --offline -p core",
        "crates/web/src/routes.rs",
        {
            "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\nresolver = "2"\n',
            "crates/core/Cargo.toml": _MEMBER % ("core", 'serde_json = "1"\nregex = "1"'),
            "crates/core/src/lib.rs": "pub use serde_json::Value;\n",
            "crates/web/Cargo.toml": _MEMBER % ("web", 'core = { path = "../core" }'),
            "crates/web/src/main.rs": "mod routes;\nfn main() {}\n",
        },
        sources="crates/web/src/parts/%s.rs",
    ),
    Project(
        "cargo fetch, main.rs changes",
        "RUN cargo fetch --locked",
        "src/main.rs",
        _CARGO,
        "cargo",
        "src/parts/%s.rs",
        limit="cargo asks whether src/main.rs is there by stat(2), which tells its size",
    ),
)

_GO = {
    "cmd/server/main.go": 'package main\n\nimport "example.org/shop/internal/web"\n\nfunc main() { web.Run() }\n',
    "cmd/tool/main.go": """\
        package main

        import "github.com/spf13/pflag"

        func main() { pflag.Parse() }
        """,
    "internal/web/web.go": "package web\n\nfunc Run() {}\n",
}
_GOES = (
    Project("go mod download", "RUN go mod download", "internal/web/web.go", _GO, "go", "internal/data/%s.txt"),
    Project(
        "go build -mod=vendor of a tool",
        "RUN rm -rf .git && go build -mod=vendor -o /srv/tool ./cmd/tool",
        "internal/web/web.go",
        _GO,
        "govendor",
        "internal/data/%s.txt",
    ),
)

_RUBY = {
    "Gemfile": "gem 'sinatra'\ngem 'nokogiri'\ngem 'rake'\n",
    "Rakefile": "file('/srv/site.css' => 'assets/site.css') { |t| cp t.prerequisites.first, t.name }\n",
    "assets/site.css": "body {}\n",
}
_COMPOSER = {
    "composer.json": """\
        {"name": "shop/shop", "repositories": [{"type": "path", "url": "packages/*"}, {"packagist": false}],
         "require": {"shop/core": "@dev", "shop/mail": "@dev"}, "autoload": {"psr-4": {"Shop\\\\": "src/"}}}
        """,
    "packages/core/composer.json": '{"name": "shop/core", "autoload": {"psr-4": {"Shop\\\\Core\\\\": "src/"}}}\n',
    "packages/core/src/Core.php": "<?php namespace Shop\\Core; class Core {}\n",
    "packages/mail/composer.json": '{"name": "shop/mail", "autoload": {"psr-4": {"Shop\\\\Mail\\\\": "src/"}}}\n',
    "packages/mail/src/Mail.php": "<?php namespace Shop\\Mail; class Mail {}\n",
}
_POM = """\
    <project xmlns="http://maven.apache.org/POM/4.0.0">
      <modelVersion>4.0.0</modelVersion>
      <groupId>org.example</groupId><artifactId>shop</artifactId><version>1</version>
      <dependencies>
        <dependency><groupId>org.apache.commons</groupId><artifactId>commons-lang3</artifactId><version>debian</version>
        </dependency>
        <dependency><groupId>com.google.guava</groupId><artifactId>guava</artifactId><version>debian</version></dependency>
      </dependencies>
    </project>
    """
_ANT = """\
    <project default="lib">
      <target name="lib"><mkdir dir="/srv/lib"/>
        <javac srcdir="lib" destdir="/srv/lib" includeantruntime="false"/></target>
    </project>
    """
_PERL = {
    "cpanfile": "requires 'Mojolicious';\nrequires 'DBI';\n",
    "Makefile.PL": "use ExtUtils::MakeMaker; WriteMakefile(NAME => 'Shop', VERSION => 1, PREREQ_PM => {DBI => 0});\n",
    "lib/Shop.pm": "package Shop;\n1;\n",
    "script/shop": "#!/usr/bin/perl\n",
}
_OTHERS = (
    Project("bundle install --local", "RUN bundle install --local", "lib/shop.rb", _RUBY, sources="lib/shop/%s.rb"),
    Project("rake of an asset", "RUN rake /srv/site.css", "lib/shop.rb", _RUBY, sources="lib/shop/%s.rb"),
    Project(
        "composer install",
        "RUN composer install --no-interaction",
        "src/Part03/M.php",
        _COMPOSER,
        sources="src/%s.php",
    ),
    Project(
        "maven dependencies",
        "RUN mvn -q -o -s /etc/maven/offline.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:resolve",
        "src/main/java/org/example/App.java",
        {"pom.xml": _POM},
        sources="src/main/java/org/example/%s.java",
    ),
    Project(
        "ant target",
        "RUN ant -q lib",
        "app/App.java",
        {"build.xml": _ANT, "lib/Lib.java": "class Lib {}\n", "app/App.java": "class App {}\n"},
        sources="app/%s.java",
    ),
    Project("cpanm --installdeps", "RUN cpanm --installdeps .", "lib/Shop/Web.pm", _PERL, sources="lib/Shop/%s.pm"),
    Project("perl Makefile.PL", "RUN perl Makefile.PL", "t/web.t", _PERL, sources="share/%s.txt"),
)

_MAKE = """\
    all: lib app
    lib: lib/libshop.a
    lib/libshop.a: $(patsubst %.c,%.o,$(wildcard lib/*.c))
    \t$(AR) rcs $@ $^
    app: app/main.o lib
    """
_C = {
    "Makefile": _MAKE,
    "configure": "#!/bin/sh\ncc -o /dev/null -xc - <<E && echo '#define OK 1' >config.h\nint main() {return 0;}\nE\n",
    "app/main.c": '#include "../lib/shop.h"\nint main(void) { return one(); }\n',
    "lib/shop.h": "int one(void);\n",
} | {f"lib/part{number}.c": f"int part{number}(void) {{ return {number}; }}\n" for number in range(20)}
_CMAKE = {
    "CMakeLists.txt": """\
        cmake_minimum_required(VERSION 3.20)
        project(shop C CXX)
        find_package(Threads REQUIRED)
        add_library(core STATIC lib/part1.c lib/part2.c)
        add_executable(shop app/main.c)
        target_link_libraries(shop core)
        """,
}
_MESON = {
    "meson.build": """\
        project('shop', 'c')
        core = static_library('core', 'lib/part1.c', 'lib/part2.c')
        executable('shop', 'app/main.c', link_with: core)
        """,
}
_NATIVE = (
    Project("a configure script", "RUN sh configure", "app/main.c", _C, sources="data/%s.txt"),
    Project("make lib", "RUN make lib", "app/main.c", _C, sources="data/%s.txt"),
    Project("cmake -B", "RUN cmake -B /srv/build", "app/util.h", _C | _CMAKE, sources="data/%s.txt"),
    Project(
        "cmake --build of a library",
        "RUN cmake -B /srv/build && cmake --build /srv/build --target core",
        "app/util.h",
        _C | _CMAKE,
        sources="data/%s.txt",
    ),
    Project("meson setup", "RUN meson setup /srv/build", "app/util.h", _C | _MESON, sources="data/%s.txt"),
    Project("GNU hello: configure", "RUN ./configure -q", "src/system.h", seed="hello"),
    Project("zlib: configure", "RUN ./configure --static", "deflate.c", seed="zlib"),
    Project("jansson: cmake", "RUN cmake -B /srv/build -DJANSSON_BUILD_DOCS=OFF", "test/bin/util.h", seed="jansson"),
    Project("inih: meson", "RUN meson setup /srv/build", "examples/ini_dump.c", seed="inih"),
    Project(
        "cmake -B, a listed source changes",
        "RUN cmake -B /srv/build",
        "app/main.c",
        _C | _CMAKE,
        sources="data/%s.txt",
        limit="cmake looks whether each source is there, and looking tells its size",
    ),
    Project(
        "ls -l of all",
        "RUN ls -lR >/srv/list",
        _JS,
        limit="it prints every size",
    ),
)

PROJECTS = (*_JAVASCRIPT, *_PYTHONS, *_RUST, *_GOES, *_OTHERS, *_NATIVE)
