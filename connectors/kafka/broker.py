"""An embedded Kafka: a real broker in a directory of its own, the child of the process that starts it.

    with EmbeddedKafka(directory) as kafka:
        address = KafkaAddress(kafka.brokers)

One node that is broker and controller. It listens on 127.0.0.1 without a password: whoever may run programs on this
machine may use it. It dies with its owner; its data stay, and the next start on the directory goes on with them.
"""

import base64
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka.jars import CURE, NoBrokerError, classpath, java

__all__ = ["LAST_PORT", "SETTINGS", "EmbeddedKafka", "NoBrokerError", "free_ports"]

START_SECONDS = 60
STOP_SECONDS = 20
_STARTS = 3
_POLL_SECONDS = 0.02
# Below the ports that connections get: a client that keeps trying the port of a killed broker would one day get that
# very port, talk to itself and keep the broker from coming back.
FIRST_PORT, LAST_PORT = 20_000, 32_000

# One node, small. Orphaned transactions hide other writers' rows: they end soon. Event times may be of any age.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": (
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"
        ),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "transaction.max.timeout.ms": "60000",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "broker.session.timeout.ms": "2000",  # back 3.5 s after a kill, not 11.6
        "broker.heartbeat.interval.ms": "500",
        "log.message.timestamp.type": "CreateTime",
        "log.message.timestamp.after.max.ms": str(2**63 - 1),
        "log.message.timestamp.before.max.ms": str(2**63 - 1),
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
        "num.network.threads": "2",
        "num.io.threads": "4",
    }
)
_HEAP = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_JVM = (
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


class EmbeddedKafka:
    """A handle on the broker that it starts. A directory has one owner at a time."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings` override `SETTINGS`, `listeners` come on top of the plain one; they hold from the next start."""
        self.directory = directory.absolute()
        self.log = self.directory / "broker.log"
        self._data = self.directory / "data"
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Start if it does not run yet."""
        return self if self.running() else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def brokers(self) -> str:
        """What clients call bootstrap servers. It stays the same when the broker is started again."""
        if self._port is None:
            raise NoBrokerError(f"the embedded broker in {self.directory} was not started")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker; raises NoBrokerError if it does not run."""
        if self._process is None or not self.running():
            raise NoBrokerError(f"the embedded broker in {self.directory} is not running")
        return self._process.pid

    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    def start(self, port: int | None = None) -> Self:
        """Start, and return when it answers. Call it from a thread that lives as long as the broker shall.

        port     where clients reach it; without it the port of this handle's last start, else a free one
        raises   NoBrokerError if it cannot run, with the reason and the cure
        """
        if self.running():
            raise NoBrokerError(f"the embedded broker in {self.directory} runs already")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._own()
            self._start(port or self._port)
        except OSError as error:
            raise NoBrokerError(f"the embedded broker cannot use {self.directory}: {error}; {CURE}") from error
        finally:
            if not self.running():
                self._disown()
        return self

    def stop(self) -> None:
        """End it in good order, by force if that takes too long; nothing happens if it does not run."""
        if self._process is not None and self.running():
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._disown()

    def kill(self) -> None:
        """SIGKILL, paused or not: what a crash of the machine's broker looks like to clients."""
        self._end()
        self._disown()

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nobody."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _start(self, fixed: int | None) -> None:
        command = self._command()
        for left in reversed(range(_STARTS)):
            clients, controller = (fixed, *free_ports(1)) if fixed else free_ports(2)
            self._configure(clients, controller)
            self._format(command)
            self._launch(command)
            if self._answers(clients, last=left == 0 or fixed is not None):
                self._port = clients
                return

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        """The runtime with the verified jars; main class and arguments follow."""
        temporary = self.directory / "tmp"  # native libraries are unpacked there; a killed broker leaves them
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        return [str(java()), *_HEAP, *_JVM, f"-Djava.io.tmpdir={temporary}", "-cp", classpath()]

    def _configure(self, clients: int, controller: int) -> None:
        listener = f"PLAINTEXT://127.0.0.1:{clients}"
        settings = {
            **SETTINGS,
            "listeners": f"{listener},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",  # not kept in the data: ports may change
            "log.dirs": str(self._data),
        }
        for name, value in self._settings.items():
            settings[name] = f"{settings['listeners']},{value}" if name == "listeners" else value
        self._properties().write_text("".join(f"{name}={_escaped(value)}\n" for name, value in settings.items()))
        self._properties().chmod(0o600)  # it may hold the passwords of a listener

    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _own(self) -> None:
        """Nobody else starts a broker here, nor clears its files, until this one has ended or we have."""
        if self._lock is not None:
            return
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise NoBrokerError(
                f"another process runs the broker in {self.directory}; give this one a directory of its own"
            ) from None
        self._lock = lock

    def _disown(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _format(self, command: list[str]) -> None:
        """Make the data directory under another name first: one that was interrupted is never taken for a whole one."""
        if self._data.exists():
            return
        unfinished = self._data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        properties = self._properties().with_name("format.properties")
        lines = self._properties().read_text().splitlines(keepends=True)
        properties.write_text(
            "".join(f"log.dirs={unfinished}\n" if line.startswith("log.dirs=") else line for line in lines)
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        named = f"--cluster-id={cluster}"  # in one word: one name in 64 begins with a dash
        tool = ("kafka.tools.StorageTool", "format", named, "-c", str(properties))
        done = subprocess.run([*command, *tool], capture_output=True, text=True, check=False)  # noqa: S603 (ours)
        if done.returncode != 0:
            raise NoBrokerError(f"the broker's directory cannot be formatted ({CURE}):\n{done.stdout}{done.stderr}")
        unfinished.rename(self._data)

    def _cluster_id(self) -> str:
        """What the directory was formatted with: on a port that was taken somebody else's broker may answer."""
        lines = (self._data / "meta.properties").read_text().splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))

    def _launch(self, command: list[str]) -> None:
        """As the leader of a session of its own: ctrl-C reaches its owner, who says when it ends."""
        leash = Path(__file__).with_name("leash.py")
        started = [sys.executable, "-I", str(leash), str(os.getpid()), *command, "kafka.Kafka", str(self._properties())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (program and options are ours)
                started,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )

    def _answers(self, port: int, *, last: bool) -> bool:
        """Wait until it serves; False if it ended because somebody else took its port in the meantime."""
        give_up = time.monotonic() + START_SECONDS
        while self.running() and time.monotonic() < give_up:
            if _listening(port) and _cluster_at(f"127.0.0.1:{port}") == self._cluster_id():
                return True
            time.sleep(_POLL_SECONDS)
        self._end()
        told = "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        if "Address already in use" in told and not last:
            return False
        raise NoBrokerError(f"the embedded broker in {self.directory} does not start ({CURE}):\n{told}")


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of 127.0.0.1 that nobody listens on; where the search begins differs between processes."""
    found: list[int] = []
    span = LAST_PORT - FIRST_PORT
    begin = os.getpid() * 97 + time.monotonic_ns() // 1000
    for step in range(span):
        port = FIRST_PORT + (begin + step) % span
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the broker binds
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return tuple(found)
    raise NoBrokerError(f"no free port between {FIRST_PORT} and {LAST_PORT}")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cluster_at(brokers: str) -> str | None:
    """The cluster whose broker answers there; None before it names itself, registered and not fenced."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        metadata = admin.list_topics(timeout=2)
    except KafkaException:
        return None
    return str(metadata.cluster_id) if metadata.brokers else None


def _escaped(value: str) -> str:
    """As Java reads properties: a backslash and a line end are written with a backslash before them."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
