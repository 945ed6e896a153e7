-- Reading three fields of each event and acknowledging it: windows of 50 and 200, no round trip and one of 20 ms.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"
local fields = require("spec.bench.stream").fields

local ack = { client = {} }

local ROUND_TRIP = 0.020

-- The time ends when the last acknowledgement is answered.
function ack.client.ack(connection, n, window)
  local client = assert(require("wgtwo").connect(connection))
  local events = client:events{ types = { "SMS_EVENT" }, queue = "bench", max_in_flight = window }
  local first
  for seen = 1, n do
    local event = assert(events:next())
    first = first or meter.look()
    fields(event)
    event:ack()
    if seen == n then break end
  end
  assert(events:close())
  return meter.rate(n, first)
end

local function measure_window(bench, window)
  local message = programs.message(311)
  local n, n_far = bench.amount(150000), bench.amount(window * 100)
  local near <close> = programs.source{ message = message, count = n }
  local far <close> = programs.source{ message = message, count = n_far, delay = ROUND_TRIP }
  local run = bench.alternate{
    { "bare", near:bare("unary", n, window) },
    { "wgtwo", near:client("ack", "ack", n, window) },
    { "bare far", far:bare("unary", n_far, window) },
    { "wgtwo far", far:client("ack", "ack", n_far, window) },
  }
  local function row(name, wgtwo, bare, target)
    bench.row{ name = name, unit = "events/s", wgtwo = run[wgtwo]("rate"), bare = run[bare]("rate"), target = target }
  end
  row(("three fields and ack, window %d"):format(window), "wgtwo", "bare", { least = window == 50 and 1.3 or 1.7 })
  row(("the same, 20 ms round trip, window %d"):format(window), "wgtwo far", "bare far",
    { of = "value", least = 0.9 * window / ROUND_TRIP })
end

function ack.measure(bench)
  measure_window(bench, 50)
  measure_window(bench, 200)
end

return ack
