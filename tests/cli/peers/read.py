"""Reads an export with other people's libraries, and writes what they make of it as JSON."""

import base64
import csv
import gzip
import json
import os
import sys

ID_KEYS = ("traceId", "spanId", "parentSpanId")


def converted(value, convert):
    """The same with all ids in another form."""
    if isinstance(value, list):
        return [converted(one, convert) for one in value]
    if isinstance(value, dict):
        return {
            key: convert(one) if key in ID_KEYS else converted(one, convert)
            for key, one in value.items()
        }
    return value


def data_of(kind):
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    return {"logs": LogsData, "metrics": MetricsData, "traces": TracesData}[kind]()


def shown(data):
    from google.protobuf.json_format import MessageToDict

    def to_hex(text):
        return base64.b64decode(text).hex()

    return converted(MessageToDict(data), to_hex)


def otlp(kind, path):
    data = data_of(kind)
    with open(path, "rb") as file:
        data.ParseFromString(file.read())
    return shown(data)


def otlp_json(kind, path):
    """Protobuf's own reader of JSON takes ids in base64, and OpenTelemetry has them in hexadecimal digits."""
    from google.protobuf.json_format import ParseDict

    def to_base64(text):
        return base64.b64encode(bytes.fromhex(text)).decode()

    data = data_of(kind)
    with open(path, encoding="utf-8") as file:
        for line in file:
            data.MergeFrom(ParseDict(converted(json.loads(line), to_base64), data_of(kind)))
    return shown(data)


def pushed(folder):
    """What requests have in them, in the order of their files' names, which say what they are of and how they are written."""
    read = []
    for name in sorted(os.listdir(folder)):
        _, kind, encoding = name.split(".")
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            body = file.read()
        if body[:2] == b"\x1f\x8b":
            with open(path, "wb") as file:
                file.write(gzip.decompress(body))
        read.append((otlp_json if encoding == "json" else otlp)(kind, path))
    return read


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def openmetrics(path):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    with open(path, encoding="utf-8", newline="") as file:
        families = list(text_string_to_metric_families(file.read()))
    return [
        {
            "name": family.name,
            "type": family.type,
            "unit": family.unit,
            "help": family.documentation,
            "samples": [
                {
                    "name": sample.name,
                    "labels": sample.labels,
                    "value": sample.value,
                    "exemplar": sample.exemplar and sample.exemplar.labels,
                }
                for sample in family.samples
            ],
        }
        for family in families
    ]


READERS = {"otlp": otlp, "otlp-json": otlp_json, "pushed": pushed, "csv": rows, "openmetrics": openmetrics}

json.dump(READERS[sys.argv[1]](*sys.argv[2:]), sys.stdout)
