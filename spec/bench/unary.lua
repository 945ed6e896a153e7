-- Unary calls: latency one after another, and the rate with 1 and 50 in flight.

local core = require "wgtwo.core"
local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"

local unary = { client = {} }

local METHOD = "wgtwo.events.v0.EventsService/Ack"
local REQUEST = { inbox = "_INBOX.abcdefghijklmnopqrstuv.xyz", sequence = 5 }

-- `window` tasks call one after another, until `n` calls were made.
function unary.client.call(connection, n, window)
  local wgtwo = require "wgtwo"
  local client = assert(wgtwo.connect(connection))
  assert(client:call(METHOD, REQUEST)) -- connects
  local latencies, left, first = {}, n, meter.look()
  local function call_on()
    while left > 0 do
      left = left - 1
      local started = core.now()
      assert(client:call(METHOD, REQUEST))
      latencies[#latencies + 1] = core.now() - started
    end
  end
  if window == 1 then
    call_on()
  else
    wgtwo.run(function()
      for _ = 1, window do wgtwo.spawn(call_on) end
    end)
  end
  local result = meter.rate(n, first)
  result.p50, result.p99 = meter.percentiles(latencies)
  return result
end

function unary.measure(bench)
  local one, fifty = bench.amount(20000), bench.amount(100000)
  local source <close> = programs.source{ message = programs.message(311), count = 0 }
  local run = bench.alternate{
    { "bare", source:bare("unary", one, 1) },
    { "wgtwo", source:client("unary", "call", one, 1) },
    { "bare many", source:bare("unary", fifty, 50) },
    { "wgtwo many", source:client("unary", "call", fifty, 50) },
  }
  local function row(name, unit, many, field, target)
    bench.row{ name = name, unit = unit, wgtwo = run["wgtwo" .. many](field), bare = run["bare" .. many](field),
      target = target }
  end
  row("latency p50", "us", "", "p50", { most = 1.2 })
  row("latency p99", "us", "", "p99", { most = 1.5 })
  row("1 in flight", "calls/s", "", "rate")
  row("50 in flight", "calls/s", " many", "rate")
end

return unary
