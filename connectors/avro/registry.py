"""A schema registry with Confluent's interface: the schemas of this build are registered, ids come back.

    with Registry("http://registry:8081") as registry:
        framing = registry.framing("prefix-")         # a Confluent framing that reads and writes all topics

The subject of a schema is `<topic>-lotus.<schema>` (Confluent's TopicRecordNameStrategy), because several kinds of
message share a topic and one kind may lie in several. Subjects are FULL_TRANSITIVE, as the gate is. Whatever other
versions a subject has, an older build's or a newer one's, can be read as far as they can be resolved.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from connectors.avro.contract import Contract, all_contracts, contract
from connectors.avro.framing import Confluent
from connectors.avro.schemas import NAMESPACE
from connectors.messages import MESSAGES
from connectors.topics import Topic, topics
from schemas import loader

COMPATIBILITY = "FULL_TRANSITIVE"
_TIMEOUT_S = 10.0
_INCOMPATIBLE = (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY)
_FORBIDDEN = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class RegistryError(RuntimeError):
    """The registry did not do what it was asked for; the message names the cure."""


def subject_of(topic: str, schema: str) -> str:
    """What the registry calls a schema of a topic."""
    return f"{topic}-{NAMESPACE}.{schema}"


def subjects(prefix: str = "", catalogue: Mapping[str, Topic] | None = None) -> dict[str, str]:
    """Subject -> schema name, for everything that the topics carry; `prefix` is the deployment's."""
    found = topics() if catalogue is None else catalogue
    return {
        subject_of(topic.full_name(prefix), MESSAGES[noun].schema): MESSAGES[noun].schema
        for topic in found.values()
        for noun in topic.nouns
    }


class Registry:
    """A connection to a registry."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        """`url`: where its interface begins, with user and password if it asks for them."""
        self._where = httpx.URL(url).copy_with(username=None, password=None)
        self._http = httpx.Client(base_url=url, timeout=timeout_s)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._http.close()

    def framing(self, prefix: str = "") -> Confluent:
        """Register every version of every schema under every subject; the framing that the ids make.

        prefix  of the deployment's topics
        raises  RegistryError
        """
        ids: dict[str, int] = {}
        others: dict[int, Contract] = {}
        for subject, name in subjects(prefix).items():
            for schema in loader.schemas():
                if schema.name == name:
                    ids[name] = self.register(subject, schema.text)
                    self._demand(subject)
            others |= self.versions(subject, name)
        return Confluent(ids, others)

    def register(self, subject: str, text: str) -> int:
        """Register a schema, or find it registered; its id.

        raises  RegistryError
        """
        answer = self._asked("POST", f"/subjects/{subject}/versions", {"schema": text, "schemaType": "AVRO"}, subject)
        return int(answer["id"])

    def versions(self, subject: str, name: str) -> dict[int, Contract]:
        """Id -> contract of all versions of a subject, by whatever build they were registered.

        raises  RegistryError
        """
        known = {version.fingerprint: version for version in all_contracts()[name]}
        found = {}
        for number in self._asked("GET", f"/subjects/{subject}/versions", None, subject):
            answer = self._asked("GET", f"/subjects/{subject}/versions/{number}", None, subject)
            told = contract(name, int(number), answer["schema"])
            found[int(answer["id"])] = known.get(told.fingerprint, told)
        return found

    def _demand(self, subject: str) -> None:
        """From now on the registry refuses for this subject what the gate would refuse."""
        self._asked("PUT", f"/config/{subject}", {"compatibility": COMPATIBILITY}, subject)

    def _asked(self, method: str, path: str, body: dict[str, str] | None, subject: str) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
            if answer.is_success:
                return answer.json()
        except httpx.TransportError as error:
            raise RegistryError(
                f"no schema registry at {self._where} ({error or type(error).__name__}): start it, correct its "
                "address, or take single-object framing, which needs none"
            ) from error
        except ValueError as error:
            raise RegistryError(
                f"{self._where} answered {path} with no JSON: is that where the Confluent interface begins "
                "(of Apicurio: /apis/ccompat/v7)?"
            ) from error
        raise RegistryError(self._refusal(answer, subject))

    def _refusal(self, answer: httpx.Response, subject: str) -> str:
        told = f"the schema registry at {self._where} answered {answer.status_code} for {subject}: {answer.text:.300}"
        if answer.status_code in _INCOMPATIBLE:
            return (
                f"{told}; the subject holds a schema that this build's does not agree with. Run python -m "
                "connectors.avro.gate; if it passes, somebody else registered it: delete that version in the registry"
            )
        if answer.status_code in _FORBIDDEN:
            return f"{told}; put user and password into its address: http://user:password@host"
        return f"{told}; is that where the Confluent interface begins (of Apicurio: /apis/ccompat/v7)?"
