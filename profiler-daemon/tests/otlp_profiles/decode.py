"""Reads OTLP profiles and prints what they hold in all, as JSON.

Arguments: `single` or `framed`, then files. A single file is one request; a framed one is a row of messages, each with
its length before it as four bytes, as the collector's file exporter writes them.
"""

import json
import struct
import sys

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest


def messages(kind, files):
    for name in files:
        with open(name, "rb") as file:
            data = file.read()
        if kind == "single":
            yield data
            continue
        at = 0
        while at < len(data):
            (length,) = struct.unpack_from(">I", data, at)
            yield data[at + 4 : at + 4 + length]
            at += 4 + length


def text(value, strings):
    if value.WhichOneof("value") == "string_value_strindex":
        return strings[value.string_value_strindex]
    return value.string_value


profiles, ids, totals, services, same_bytes = 0, set(), {}, set(), True
for data in messages(sys.argv[1], sys.argv[2:]):
    request = ExportProfilesServiceRequest.FromString(data)
    same_bytes = same_bytes and request.SerializeToString(deterministic=True) == data
    strings = request.dictionary.string_table
    for resource in request.resource_profiles:
        for attribute in resource.resource.attributes:
            key = strings[attribute.key_strindex] if attribute.key_strindex else attribute.key
            if key == "service.name":
                services.add(text(attribute.value, strings))
        for scope in resource.scope_profiles:
            for profile in scope.profiles:
                profiles += 1
                if profile.profile_id in ids:
                    continue
                ids.add(profile.profile_id)
                kind = strings[profile.sample_type.type_strindex]
                for sample in profile.samples:
                    many = len(sample.timestamps_unix_nano) if kind == "samples" else sum(sample.values)
                    totals[kind] = totals.get(kind, 0) + many

print(
    json.dumps(
        {
            "profiles": profiles,
            "ids": sorted(one.hex() for one in ids),
            "totals": totals,
            "services": sorted(services),
            "same_bytes": same_bytes,
        }
    )
)
