-- How fast events come through: iterate only, read three nested fields, a table or JSON of each; plaintext and TLS.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"

local stream = { client = {} }

-- A client that reads `n` events and does something with each.
local function reading(handle)
  return function(connection, n)
    local client = assert(require("wgtwo").connect(connection))
    local seen, first = 0, nil
    for event in client:events{ types = { "SMS_EVENT" } } do
      first = first or meter.look()
      handle(event)
      seen = seen + 1
      if seen == n then return meter.rate(n, first) end
    end
  end
end

stream.client.iterate = reading(function() end)

--- The three nested fields.
function stream.fields(event)
  local sms = event.sms_event
  return sms.text, sms.from_e164.e164, event.owner.phone_number.e164
end

stream.client.fields = reading(stream.fields)

stream.client.totable = reading(function(event) return require("wgtwo.message").totable(event.message) end)

stream.client.json = reading(function(event) return require("wgtwo.message").tojson(event.message) end)

function stream.measure(bench)
  local n = bench.amount(1000000)
  local message = programs.message(311)
  local plain <close> = programs.source{ message = message, count = n }
  local secure <close> = programs.source{ message = message, count = n, tls = true }
  local run = bench.alternate{
    { "bare", plain:bare("stream", 1, n) },
    { "iterate", plain:client("stream", "iterate", n) },
    { "fields", plain:client("stream", "fields", n) },
    { "totable", plain:client("stream", "totable", n) },
    { "json", plain:client("stream", "json", n) },
    { "bare TLS", secure:bare("stream", 1, n) },
    { "fields TLS", secure:client("stream", "fields", n) },
  }
  local bare = run.bare("rate")
  local function row(name, wgtwo, reference, target)
    bench.row{ name = name, unit = "events/s", wgtwo = run[wgtwo]("rate"), bare = reference, target = target }
  end
  row("iterate", "iterate", bare, { least = 0.90 })
  row("three nested fields", "fields", bare, { least = 0.85 })
  row("totable of each", "totable", bare, { least = 0.40 })
  row("JSON of each", "json", bare, { least = 0.35 })
  row("three fields, TLS", "fields TLS", run["bare TLS"]("rate"))
  row("three fields, TLS against own plaintext", "fields TLS", run.fields("rate"), { least = 0.75 })
end

return stream
