"""Follow the decisions of a deployment, without Lotus: python follow_decisions.py BROKERS [TOPIC [SCHEMA]]."""

import io
import json
import sys
from pathlib import Path

import fastavro
from confluent_kafka import Consumer

brokers, topic, schema, *_ = [*sys.argv[1:], *["pm.decisions.v1", "schemas/avro/decision/v1.avsc"][len(sys.argv) - 2 :]]
decision = fastavro.parse_schema(json.loads(Path(schema).read_text()))
settings = {"bootstrap.servers": brokers, "group.id": "follow-decisions", "auto.offset.reset": "earliest"}
consumer = Consumer({**settings, "isolation.level": "read_committed"})
consumer.subscribe([topic])
while message := consumer.poll(30):  # 30 s without a message, not even a watermark: the deployment is down
    if not message.error() and dict(message.headers())["noun"] == b"decision":
        found = fastavro.schemaless_reader(io.BytesIO(message.value()[10:]), decision, None)  # 10 bytes of framing
        print(found["ts"], found["token"], found["timeframe"], found["kind"], found["usd"] or found["fraction"])
