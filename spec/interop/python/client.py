"""A client with grpcio, on this project's descriptor set. Its commands are those that ../follow.lua lists, and
`handsets COUNT`, which takes and acknowledges v1's handset changes.

Environment: API (the descriptor set), TARGET, CA_FILE, TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE.
"""

import base64
import json
import os
import sys
import urllib.parse
import urllib.request

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

DEADLINE = 10


class Api:
    """The messages and methods of a descriptor set."""

    def __init__(self, path, channel):
        files = descriptor_pb2.FileDescriptorSet()
        with open(path, "rb") as stream:
            files.ParseFromString(stream.read())
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.channel = channel

    def method(self, name):
        """A function that takes fields of the request, and what grpc takes."""
        service, _, last = name.rpartition("/")
        found = self.pool.FindMethodByName(f"{service}.{last}")
        request_class = message_factory.GetMessageClass(found.input_type)
        kind = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        call = kind(
            f"/{name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
        )
        return lambda fields, **options: call(json_format.ParseDict(fields, request_class()), **options)

    def describe(self, packed):
        """A detail of a status, as text."""
        kind = self.pool.FindMessageTypeByName(packed.type_url.rpartition("/")[2])
        detail = message_factory.GetMessageClass(kind)()
        packed.Unpack(detail)
        return json.dumps(json_format.MessageToDict(detail))


def fetch_token():
    env = os.environ
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": env["SCOPE"]}).encode()
    basic = base64.b64encode(f"{env['CLIENT_ID']}:{env['CLIENT_SECRET']}".encode()).decode()
    request = urllib.request.Request(env["TOKEN_URL"], data=form, headers={"Authorization": f"Basic {basic}"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)["access_token"]


def connect():
    with open(os.environ["CA_FILE"], "rb") as stream:
        tls = grpc.ssl_channel_credentials(stream.read())
    bearer = grpc.access_token_call_credentials(fetch_token())
    return grpc.secure_channel(
        os.environ["TARGET"],
        grpc.composite_channel_credentials(tls, bearer),
        options=[("grpc.keepalive_time_ms", 60000), ("grpc.keepalive_permit_without_calls", 1)],
    )


def receive_all(count, open_stream, acknowledge):
    """Takes and acknowledges so many events, over as many streams as it takes."""
    while count > 0:
        stream = open_stream()
        for response in stream:
            print("event", json.dumps(json_format.MessageToDict(response), ensure_ascii=False), flush=True)
            acknowledge(response)
            count -= 1
            if count == 0:
                stream.cancel()
                return
        print("stream ended", flush=True)


def events(api, count):
    subscribe, ack = (api.method(f"wgtwo.events.v0.EventsService/{name}") for name in ("Subscribe", "Ack"))
    request = {
        "type": ["SMS_EVENT"], "startAtOldestPossible": {}, "clientId": "interop", "queueName": "test",
        "durableName": "test", "maxInFlight": 50, "manualAck": {"enable": True, "timeout": "10s"},
    }

    def acknowledge(response):
        metadata = response.event.metadata
        ack({"inbox": metadata.ack_inbox, "sequence": metadata.sequence}, timeout=DEADLINE)

    receive_all(int(count), lambda: subscribe(request), acknowledge)


def handsets(api, count):
    service = "wgtwo.subscription.v1.SubscriptionEventService"
    stream, ack = (api.method(f"{service}/{name}") for name in ("StreamHandsetChangeEvents", "AckHandsetChangeEvent"))
    request = {"streamConfiguration": {"startAtOldestPossible": {}}}

    def acknowledge(response):
        ack_info = json_format.MessageToDict(response.metadata.ack_info)
        print("ack", ack({"ackInfo": ack_info}, timeout=DEADLINE), flush=True)

    receive_all(int(count), lambda: stream(request), acknowledge)


def send(api, sender, receiver, text):
    method = api.method("wgtwo.sms.v1.SmsService/SendTextFromSubscriber")
    answer = method(
        {"fromSubscriber": sender, "toAddress": receiver, "content": text},
        timeout=DEADLINE, compression=grpc.Compression.Gzip,
    )
    print("sent", json_format.MessageToDict(answer)["status"])


def show(api, problem):
    print(f"failed {problem.code().name}: {problem.details()}")
    status_class = message_factory.GetMessageClass(api.pool.FindMessageTypeByName("google.rpc.Status"))
    for name, value in problem.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for packed in status_class.FromString(value).details:
                print("detail", packed.TypeName(), api.describe(packed))


def main(command, *words):
    with connect() as channel:
        api = Api(os.environ["API"], channel)
        try:
            command(api, *words)
        except grpc.RpcError as problem:
            show(api, problem)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main({"events": events, "handsets": handsets, "send": send}[sys.argv[1]], *sys.argv[2:]))
