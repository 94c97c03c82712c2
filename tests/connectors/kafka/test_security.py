"""TLS and SASL against a real broker: the right password over a trusted certificate gets in, nothing else does."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from connectors.kafka.broker import EmbeddedKafka, free_ports
from connectors.kafka.cluster import Cluster, KafkaAddress, UnreachableError
from connectors.kafka.jars import java
from tests.connectors.kafka.traffic import make_topic, produce, read

USER, PASSWORD = "lotus", "canary-5e1d77"
STORE_PASSWORD = "only-for-this-test"


class Secured(NamedTuple):
    """A broker that also listens with TLS and passwords, and where its certificate and the password are."""

    brokers: str
    certificate: Path
    stranger: Path
    password: Path
    folder: Path

    def address(self, brokers: str | None = None, **changed: str) -> KafkaAddress:
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password.file": str(self.password),
            "ssl.ca.location": str(self.certificate),
            **{name.replace("_", "."): value for name, value in changed.items()},
        }
        return KafkaAddress(brokers or self.brokers, options)


@pytest.fixture(scope="module")
def secured(broker: EmbeddedKafka) -> Iterator[Secured]:
    """A second broker; where the session's one cannot be had, this one cannot either."""
    assert broker.running()
    folder = Path(tempfile.mkdtemp(prefix="lotus-kafka-tls-"))
    port = free_ports(1)[0]
    certificate = _certificate(folder, "broker")
    (folder / "password").write_text(PASSWORD)
    secured = Secured(f"127.0.0.1:{port}", certificate, _certificate(folder, "stranger"), folder / "password", folder)
    try:
        with EmbeddedKafka(folder / "kafka", _listener(port, folder / "broker.p12")) as started:
            _add_user(started.brokers)
            yield secured
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _listener(port: int, store: Path) -> Mapping[str, str]:
    return {
        "listeners": f"SASL_SSL://127.0.0.1:{port}",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(store),
        "ssl.keystore.password": STORE_PASSWORD,
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }


def _certificate(folder: Path, name: str) -> Path:
    """A key with a self-signed certificate for 127.0.0.1, in a store for the broker and as PEM for clients."""
    keytool = java().with_name("keytool")
    store = ("-keystore", str(folder / f"{name}.p12"), "-storepass", STORE_PASSWORD, "-alias", name)
    made = ("-keyalg", "EC", "-validity", "2", "-dname", f"CN={name}", "-ext", "san=ip:127.0.0.1")
    subprocess.run([keytool, "-genkeypair", *store, *made, "-storetype", "PKCS12"], check=True, capture_output=True)
    told = subprocess.run([keytool, "-exportcert", "-rfc", *store], check=True, capture_output=True)
    (folder / f"{name}.pem").write_bytes(told.stdout)
    return folder / f"{name}.pem"


def _add_user(brokers: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
    admin.alter_user_scram_credentials([wanted])[USER].result()


def test_the_right_password_over_a_trusted_certificate_gets_in(secured: Secured) -> None:
    address = secured.address()
    topic = make_topic(address, "secured")
    produce(address, topic, [b"one", b"two"])
    assert [value for _, value in read(address, topic)] == [b"one", b"two"]


def test_a_wrong_password_is_refused_and_not_told(secured: Secured, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = secured.folder / "wrong"
    wrong.write_text("canary-wrong")
    told = _refused(secured.address(sasl_password_file=str(wrong)))
    assert "uthentication" in told
    assert "canary" not in "".join((told, *capfd.readouterr()))


def test_an_unknown_user_is_refused(secured: Secured) -> None:
    assert "uthentication" in _refused(secured.address(sasl_username="stranger"))


def test_a_broker_with_an_untrusted_certificate_is_not_talked_to(secured: Secured) -> None:
    assert "certificate verify failed" in _refused(secured.address(ssl_ca_location=str(secured.stranger)))


def test_a_broker_with_a_certificate_of_another_name_is_not_talked_to(secured: Secured) -> None:
    elsewhere = secured.brokers.replace("127.0.0.1", "localhost")
    assert "certificate verify failed" in _refused(secured.address(brokers=elsewhere))


def test_without_tls_nobody_is_served(secured: Secured) -> None:
    assert _refused(secured.address(security_protocol="SASL_PLAINTEXT"))


def _refused(address: KafkaAddress) -> str:
    with pytest.raises(UnreachableError) as refused:
        Cluster(address, timeout_seconds=1.5).cluster_id()
    assert PASSWORD not in str(refused.value)
    return str(refused.value)
