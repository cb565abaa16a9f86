"""Reads Prometheus text with Prometheus's own client library; writes it as JSON."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

samples = [
    {"name": sample.name, "kind": family.type, "labels": sample.labels, "value": sample.value}
    for family in text_string_to_metric_families(sys.stdin.read())
    for sample in family.samples
]
json.dump(samples, sys.stdout)
