// A client with @grpc/grpc-js, on this project's proto files. Its commands are those that ../follow.lua lists.
// Environment: TARGET, CA_FILE, TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const proto = path.join(__dirname, "../../../proto");

function service(file, name) {
  const definition = loader.loadSync(file, {
    includeDirs: [proto], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
  });
  return name.split(".").reduce((found, word) => found[word], grpc.loadPackageDefinition(definition));
}

let token;

async function fetchToken() {
  const { TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE } = process.env;
  const answer = await fetch(TOKEN_URL, {
    method: "POST",
    headers: { authorization: "Basic " + Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString("base64") },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: SCOPE }),
  });
  if (!answer.ok) throw new Error(`token: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).access_token;
}

function credentials() {
  const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
    token = token || fetchToken();
    token.then((value) => {
      const metadata = new grpc.Metadata();
      metadata.set("authorization", "Bearer " + value);
      done(null, metadata);
    }, done);
  });
  const tls = grpc.credentials.createSsl(fs.readFileSync(process.env.CA_FILE));
  return grpc.credentials.combineChannelCredentials(tls, bearer);
}

// Takes events of one stream until it ends, or until `left.count` of them are acknowledged.
function receive(client, left) {
  return new Promise((resolve, reject) => {
    const stream = client.Subscribe({
      type: ["SMS_EVENT"], start_at_oldest_possible: {}, client_id: "interop", queue_name: "test", durable_name: "test",
      max_in_flight: 50, manual_ack: { enable: true, timeout: { seconds: 10 } },
    });
    stream.on("data", ({ event }) => {
      console.log("event", JSON.stringify(event));
      const { ack_inbox: inbox, sequence } = event.metadata;
      client.Ack({ inbox, sequence }, { deadline: Date.now() + 10000 }, (problem) => {
        if (problem) return reject(problem);
        left.count -= 1;
        if (left.count === 0) {
          stream.cancel();
          resolve();
        }
      });
    });
    stream.on("end", () => {
      if (left.count > 0) console.log("stream ended");
      resolve();
    });
    stream.on("error", (problem) => (left.count > 0 ? reject(problem) : resolve()));
  });
}

const commands = {
  async events(count) {
    const Service = service("wgtwo/events/v0/events.proto", "wgtwo.events.v0.EventsService");
    const client = new Service(process.env.TARGET, credentials(), { "grpc.keepalive_time_ms": 60000 });
    const left = { count: Number(count) };
    while (left.count > 0) await receive(client, left);
    client.close();
  },

  async send(from_subscriber, to_address, content) {
    const Service = service("wgtwo/sms/v1/sms.proto", "wgtwo.sms.v1.SmsService");
    const client = new Service(process.env.TARGET, credentials(), { "grpc.default_compression_algorithm": 2 });
    const request = { from_subscriber, to_address, content };
    const answer = await new Promise((resolve, reject) => {
      client.SendTextFromSubscriber(request, { deadline: Date.now() + 10000 },
        (problem, reply) => (problem ? reject(problem) : resolve(reply)));
    });
    console.log("sent", answer.status);
    client.close();
  },
};

commands[process.argv[2]](...process.argv.slice(3)).catch((problem) => {
  console.log(`failed ${problem.code}: ${problem.details || problem.message}`);
  const details = problem.metadata ? problem.metadata.get("grpc-status-details-bin") : [];
  for (const bytes of details) console.log("detail", bytes.toString("latin1").replace(/[^ -~]/g, " "));
  process.exit(1);
});
