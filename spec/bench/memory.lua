-- Resident memory: after so many events on one stream, and for each stream that is open.

local meter = require "spec.bench.meter"
local programs = require "spec.bench.programs"
local fields = require("spec.bench.stream").fields

local memory = { client = {} }

local METHOD = "wgtwo.events.v0.EventsService/Subscribe"
local STREAMS = 1000

-- Reads `n` events, and looks at the memory and the CPU per event at each mark.
function memory.client.events(connection, n, ...)
  local client = assert(require("wgtwo").connect(connection))
  local marks, result, seen, first = {}, {}, 0, nil
  for _, mark in ipairs{ ... } do marks[mark] = true end
  for event in client:events{ types = { "SMS_EVENT" } } do
    first = first or meter.look()
    fields(event)
    seen = seen + 1
    if marks[seen] then
      result["rss." .. seen] = meter.resident()
      result["cpu." .. seen] = meter.rate(seen, first).cpu
    end
    if seen == n then return result end
  end
end

-- Opens streams, one after another, says so, and waits until it is killed.
function memory.client.hold(connection, n)
  local client = assert(require("wgtwo").connect(connection))
  local streams = {}
  for i = 1, n do
    streams[i] = assert(client:stream(METHOD, { type = { "SMS_EVENT" } }))
    assert(streams[i]:read())
  end
  meter.print{ pid = io.open("/proc/self/stat"):read("n"), rss = meter.resident() }
  streams[1]:read()
end

local function held(...)
  local process <close> = programs.start(...)
  return process.pairs
end

local function measure_events(bench)
  local counts = { 1000, 100000, bench.amount(5000000) }
  local n = counts[#counts]
  local source <close> = programs.source{ message = programs.message(311), count = n }
  local run = bench.alternate{
    { "bare", source:bare("stream", 1, n, table.unpack(counts)) },
    { "wgtwo", source:client("memory", "events", n, table.unpack(counts)) },
  }
  for _, count in ipairs(counts) do
    local field = "rss." .. count
    bench.row{ name = ("after %d events"):format(count), unit = "MB", wgtwo = run.wgtwo(field, 1 / 1024),
      bare = run.bare(field, 1 / 1024), target = { of = "value", most = 20 } }
  end
end

local function each_further(one, many)
  local sizes = {}
  for i = 1, #one do sizes[i] = (many[i] - one[i]) / (STREAMS - 1) end
  return sizes
end

local function measure_streams(bench)
  local source <close> = programs.source{ message = programs.message(311), count = 1, hold = true }
  local run = bench.alternate{
    { "bare 1", held, source:bare("hold", 1) },
    { "bare", held, source:bare("hold", STREAMS) },
    { "wgtwo 1", held, source:client("memory", "hold", 1) },
    { "wgtwo", held, source:client("memory", "hold", STREAMS) },
  }
  bench.row{
    name = ("each further open stream, 1 to %d"):format(STREAMS),
    unit = "KB",
    wgtwo = each_further(run["wgtwo 1"]("rss"), run.wgtwo("rss")),
    bare = each_further(run["bare 1"]("rss"), run.bare("rss")),
    target = { of = "value", most = 60 },
  }
end

function memory.measure(bench)
  measure_events(bench)
  measure_streams(bench)
end

return memory
